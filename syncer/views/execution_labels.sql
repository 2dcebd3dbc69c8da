-- Labels come in several shapes: {"region": ["eu", null]}, ["region=eu"], [{"key": "region", "value": "eu"}].
-- `strict $.**` reaches the scalars at any depth once each; the lax form would return those in arrays twice.
-- UNION, not UNION ALL: a label repeated on one execution is one label.
CREATE OR REPLACE VIEW history.execution_labels AS
SELECT
  e.connection_id,
  e.execution_id,
  e.workflow_id,
  l.kind,
  l.key,
  l.value,
  e.created_at,
  (e.created_at AT TIME ZONE 'UTC')::date AS day
FROM history.executions e
CROSS JOIN LATERAL (
  SELECT field.kind, field.key, scalar #>> '{}' AS value
  FROM (
    SELECT 'category' AS kind, key, value
    FROM jsonb_each(CASE jsonb_typeof(e.categories) WHEN 'object' THEN e.categories END)
    UNION ALL
    SELECT 'variable', key, value
    FROM jsonb_each(CASE jsonb_typeof(e.variables) WHEN 'object' THEN e.variables END)
    UNION ALL
    SELECT 'variable', COALESCE(item ->> 'key', item ->> 'name', ''), item -> 'value'
    FROM jsonb_array_elements(CASE jsonb_typeof(e.variables) WHEN 'array' THEN e.variables END) AS item
    WHERE jsonb_typeof(item) = 'object'
  ) AS field,
    jsonb_path_query(
      field.value,
      'strict $.** ? (@.type() == "number" || @.type() == "boolean" || @.type() == "string" && @ != "")'
    ) AS scalar
  UNION
  SELECT
    word.kind,
    CASE WHEN strpos(word.label, '=') > 0 THEN split_part(word.label, '=', 1) ELSE '' END,
    substr(word.label, strpos(word.label, '=') + 1)
  FROM (
    SELECT 'tag' AS kind, tag AS label
    FROM unnest(e.tags) AS tag
    UNION ALL
    SELECT 'variable', item #>> '{}'
    FROM jsonb_array_elements(CASE jsonb_typeof(e.variables) WHEN 'array' THEN e.variables END) AS item
    WHERE jsonb_typeof(item) NOT IN ('object', 'array')
  ) AS word
  WHERE word.label <> ''
) AS l;

COMMENT ON VIEW history.execution_labels IS 'One row per category, variable and tag of an execution; null and empty ones give none, repeated ones give one.';
COMMENT ON COLUMN history.execution_labels.connection_id IS 'Name of the connection in the configuration: one tenant of one platform.';
COMMENT ON COLUMN history.execution_labels.execution_id IS 'The execution''s id at the source.';
COMMENT ON COLUMN history.execution_labels.workflow_id IS 'Id of the workflow that ran.';
COMMENT ON COLUMN history.execution_labels.kind IS 'category, variable or tag.';
COMMENT ON COLUMN history.execution_labels.key IS 'Name of the category or variable, or what stands before the first "=" of a tag; '''' for a tag without "=".';
COMMENT ON COLUMN history.execution_labels.value IS 'The value as text; a list gives one row per value.';
COMMENT ON COLUMN history.execution_labels.created_at IS 'When the execution was created at the source.';
COMMENT ON COLUMN history.execution_labels.day IS 'UTC day of created_at.';
