-- Labels come in several shapes: {"region": ["eu", null]}, ["region=eu"], [{"key": "region", "value": "eu"}].
-- `strict $.**` reaches the scalars at any depth once each; the lax form would return those in arrays twice.
-- unnest(ARRAY(SELECT DISTINCT ...)) lets the planner expect 10 rows instead of 1,000 and remember them by value.
CREATE OR REPLACE VIEW history.execution_labels AS
SELECT
  e.connection_id,
  e.execution_id,
  e.workflow_id,
  'category' AS kind,
  field.key,
  label AS value,
  e.created_at,
  (e.created_at AT TIME ZONE 'UTC')::date AS day
FROM history.executions e
CROSS JOIN jsonb_each(CASE jsonb_typeof(e.categories) WHEN 'object' THEN e.categories END) AS field
CROSS JOIN unnest(
  ARRAY(
    SELECT DISTINCT scalar #>> '{}'
    FROM jsonb_path_query(
      field.value,
      'strict $.** ? (@.type() == "number" || @.type() == "boolean" || @.type() == "string" && @ != "")'
    ) AS scalar
  )
) AS label
UNION ALL
SELECT
  e.connection_id,
  e.execution_id,
  e.workflow_id,
  'variable',
  field.key,
  label,
  e.created_at,
  (e.created_at AT TIME ZONE 'UTC')::date
FROM history.executions e
CROSS JOIN LATERAL (
  SELECT key, value
  FROM jsonb_each(CASE jsonb_typeof(e.variables) WHEN 'object' THEN e.variables END)
  UNION
  SELECT
    CASE
      WHEN jsonb_typeof(item) = 'object' THEN COALESCE(item ->> 'key', item ->> 'name', '')
      WHEN strpos(item #>> '{}', '=') > 0 THEN split_part(item #>> '{}', '=', 1)
      ELSE ''
    END,
    CASE jsonb_typeof(item)
      WHEN 'object' THEN item -> 'value'
      WHEN 'string' THEN to_jsonb(substr(item #>> '{}', strpos(item #>> '{}', '=') + 1))
      ELSE item
    END
  FROM jsonb_array_elements(CASE jsonb_typeof(e.variables) WHEN 'array' THEN e.variables END) AS item
) AS field
CROSS JOIN unnest(
  ARRAY(
    SELECT DISTINCT scalar #>> '{}'
    FROM jsonb_path_query(
      field.value,
      'strict $.** ? (@.type() == "number" || @.type() == "boolean" || @.type() == "string" && @ != "")'
    ) AS scalar
  )
) AS label
WHERE e.variables IS NOT NULL
UNION ALL
SELECT
  e.connection_id,
  e.execution_id,
  e.workflow_id,
  'tag',
  CASE WHEN strpos(label, '=') > 0 THEN split_part(label, '=', 1) ELSE '' END,
  substr(label, strpos(label, '=') + 1),
  e.created_at,
  (e.created_at AT TIME ZONE 'UTC')::date
FROM history.executions e
CROSS JOIN unnest(ARRAY(SELECT DISTINCT tag FROM unnest(e.tags) AS tag WHERE tag <> '')) AS label;

COMMENT ON VIEW history.execution_labels IS 'One row per category, variable and tag of an execution; null and empty ones give none, repeated ones give one.';
COMMENT ON COLUMN history.execution_labels.connection_id IS 'Name of the connection in the configuration: one tenant of one platform.';
COMMENT ON COLUMN history.execution_labels.execution_id IS 'The execution''s id at the source.';
COMMENT ON COLUMN history.execution_labels.workflow_id IS 'Id of the workflow that ran.';
COMMENT ON COLUMN history.execution_labels.kind IS 'category, variable or tag.';
COMMENT ON COLUMN history.execution_labels.key IS 'Name of the category or variable, or what stands before the first "=" of a tag; '''' for a tag without "=".';
COMMENT ON COLUMN history.execution_labels.value IS 'The value as text; a list gives one row per value.';
COMMENT ON COLUMN history.execution_labels.created_at IS 'When the execution was created at the source.';
COMMENT ON COLUMN history.execution_labels.day IS 'UTC day of created_at.';
