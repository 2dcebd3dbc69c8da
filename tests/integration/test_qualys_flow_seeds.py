"""The samples of Qualys' API documentation, served over a socket, through the whole pipeline into PostgreSQL.

What is expected is written by hand from the samples. They show no whole history: of lists of 17 and 9 executions the
first two each, and steps and details of executions that no list shows. A pass copies what is shown and calls the totals
disputed; the two executions outside the lists are put there by driving source and loader directly.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from syncer.load.executions import load_executions
from syncer.model import Execution, ExecutionRef
from syncer.simulator import Answer, Request
from syncer.simulator.qualys_flow import Simulator
from syncer.simulator.qualys_flow.seeds import seed
from syncer.sources.qualys_flow import QualysFlow
from syncer.sync import Report, Session
from syncer.sync.steps import Span, sync_steps
from tests.integration.flows import FlowBench
from tests.platforms import at

WORKFLOW = "f516bcf4-f6fb-46ac-a54f-ddbcf2a2d24a"
EXECUTION = "0e71f117-648f-4ad2-a3a9-8f1b857a1b70"
STEPS_EXECUTION = "0e72b4a1-abea-45b2-9ae9-91cd87506404"
CREATOR = "0ffaf046-768b-79fc-83f6-aa25be52c2a1"
CUSTOMER = "54f50897-26f3-c9af-83f9-e71459be70d9"
REVISION = "27653453ffa1beb74ce8d1aaabc55162377c4090ac14e3441fc900c798891ee2"
ACCOUNT = "aa70acae-6ea8-3acf-b504-f327855b316a"
DATA = Path(__file__).parents[1] / "unit" / "data"
REDACTED = "[redacted]"

MESSAGE = (
    "Task c2bcbbb8-c591-400e-9e5c-6735d34c547a failed with status: FAILED and reason: '"
    r'{"failed":[{"error":"You are not authorized to perform this operation. User: '
    "arn:aws:sts::993493008830:assumed-role/QFLOW_1/qualys is not authorized to perform: ec2:StopInstances on "
    "resource: arn:aws:ec2:us-east-1:993493008830:instance/i-0663d3f3e572608d5 because no identity-based policy "
    "allows the ec2:StopInstances action. Encoded authorization failure message: "
    "9OV9AWBXa9QNCb4YFYstSlf25JmzjRpg2S25YPhhChOZayxjDhGWoEhadj0hDDr1_M8tLLFBpd7Fu2RzsWlZ1Ipy8zoWf6uVMuP_"
    "uzLKKRU4scCmknWfpHEnrsOVDiNZldAbVyc'"
)


def categories(projects: list[Any]) -> dict[str, list[Any]]:
    return {
        "services": [],
        "accounts": [f"@{ACCOUNT}"],
        "regions": ["us-east-1"],
        "resource_groups": [],
        "projects": projects,
        "solutions": ["AWS Best Practices"],
        "apps": [],
        "cloud_providers": ["AWS"],
    }


# Alike in every execution of the samples.
COMMON = {
    "connection_id": "flow", "workflow_id": WORKFLOW, "workflow_name": None, "execution_type": "Simple",
    "trigger": "UI", "subject_id": None, "parent_execution_id": None, "linked_execution_ids": None,
    "tags": [f"created_by={CREATOR}"], "extra": None, "missing_since": None, "missing_reason": None,
}  # fmt: skip
SUCCEEDED = {"status": "Success", "outcome": "succeeded", "message": None, "failure_reason": None}


@pytest.fixture
def bench(engine: Engine) -> FlowBench:
    return FlowBench(engine)


@pytest.fixture
def simulator() -> Simulator:
    return Simulator.from_seeds()


@pytest.fixture
def url(simulator: Simulator) -> Iterator[str]:
    with simulator.serve() as url:
        yield url


def answer_with(simulator: Simulator, end: str, name: str) -> None:
    """Let another sample answer where the path ends so; the second page of a list stays empty."""

    def swap(request: Request, answer: Answer) -> Answer:
        is_asked = request.path.endswith(end) and dict(request.query).get("pageNumber", "1") == "1"
        return replace(answer, body=seed(name)) if is_asked and answer.status == 200 else answer

    simulator.fault = swap


def stored(bench: FlowBench, table: str, where: str = "true") -> dict[str, Any]:
    """The one row there is, without what tells when it was copied."""
    (row,) = bench.rows(f"SELECT * FROM history.{table} WHERE {where}")
    return {name: value for name, value in row._mapping.items() if not name.startswith("_")}


def execution_row(bench: FlowBench, execution_id: str, expected: dict[str, Any]) -> dict[str, Any]:
    row = stored(bench, "executions", f"execution_id = '{execution_id}'")
    return {name: row[name] for name in expected}


async def land(session: Session, execution: Execution) -> None:
    """Write one execution's row as a pass would."""
    asked, now = session.asked(), session.writer.now()
    reading = session.reading(WORKFLOW, asked, now)
    await session.writer.run(lambda db: load_executions(db, [session.encoder.execution(execution)], reading))


def test_the_workflow_of_the_samples_lands_whole(bench: FlowBench, simulator: Simulator, url: str) -> None:
    bench.run(simulator, url)
    row = stored(bench, "workflows")
    row.pop("synced_at")
    definition = row.pop("definition")
    assert row == {
        "connection_id": "flow", "workflow_id": WORKFLOW, "name": "aws-action-node", "description": " ",
        "is_active": True, "type": "normal", "revision": REVISION, "created_by": CREATOR,
        "created_at": at(1744786878828), "updated_at": at(1747114432724), "deleted_at": None,
        "last_execution_status": "Error", "last_execution_ended_at": at(1747114432510),
        "last_execution_message": "connect ECONNREFUSED 10.238.62.201:8090",
        "tags": [f"created_by={CREATOR}"],
        "properties": {
            "priority": 1, "severity": 1, "editorVersion": "2.0", "hidden": False,
            "categories": {**categories([]), "accounts": [ACCOUNT]},
        },
        "extra": {"state": None}, "missing_since": None, "missing_reason": None,
    }  # fmt: skip
    given = json.loads(json.loads(seed("workflow"))["data"]["definition"])
    # The default redact_keys: a key that ends with "credentials" or "token".
    given["variables"][3]["value"] = REDACTED
    given["components"][1]["inputs"]["params"]["NextToken"] = REDACTED
    assert definition == given
    assert stored(bench, "workflow_revisions")["revision"] == REVISION
    assert stored(bench, "workflow_revisions")["definition"] == given
    assert stored(bench, "connections")["extra"] == {"customerId": CUSTOMER}


def test_the_nodes_of_the_definition_land_in_its_order(
    bench: FlowBench, simulator: Simulator, url: str
) -> None:
    bench.run(simulator, url)
    assert bench.rows(
        "SELECT position, node_id, name, node_type, next_node_ids, script, removed_at"
        " FROM history.workflow_nodes ORDER BY position"
    ) == [
        (0, "trigger", "Trigger", "trigger", ["node-6748e0e3-resource"], "trigger", None),
        (1, "node-6748e0e3-resource", "AWS Resource", "resource", ["node-67649155-filter"], "awsapi", None),
        (2, "node-67649155-filter", "Filter", "filter", ["node-e3a84822-action"], "customFilter", None),
        (3, "node-e3a84822-action", "AWS Action", "action", ["node-ea318327-action"], "awsapi", None),
        (4, "node-ea318327-action", "AWS Action (2)", "action", [], "awsapi", None),
    ]
    assert stored(bench, "workflow_nodes", "position = 3")["inputs"] == {
        "service": "EC2", "resourceType": "EC2_INSTANCE", "method": "stopInstances", "waitForAction": "true",
        "params": {"InstanceIds": ["obj.InstanceId"], "Hibernate": " ", "Force": " "},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("sample", "told", "execution_id", "expected"),
    [
        (
            "executions", 17, "7f7f2949-3086-4298-83f8-7bf029710bb7",
            {
                "status": "Error", "outcome": "failed", "message": MESSAGE, "created_at": at(1744787146983),
                "started_at": at(1744787146983), "ended_at": at(1744787192041), "updated_at": at(1744787192082),
                "duration_ms": 45058,
            },
        ),
        (
            "executions", 17, "a9dc8a16-53c4-4876-bbc9-d68b76884f38",
            {
                **SUCCEEDED, "created_at": at(1744786993708), "started_at": at(1744786993707),
                "ended_at": at(1744786996372), "updated_at": at(1744786996398), "duration_ms": 2665,
            },
        ),
        (
            "executions_since", 9, "e5d57d53-79db-4840-a7a0-10d0cb1d8020",
            {
                **SUCCEEDED, "created_at": at(1745233971431), "started_at": at(1745233971431),
                "ended_at": at(1745233995144), "updated_at": at(1745233995210), "duration_ms": 23713,
            },
        ),
        (
            "executions_since", 9, "6ad5f333-c4ad-4008-b0d3-caab170d130b",
            {
                **SUCCEEDED, "created_at": at(1745234555690), "started_at": at(1745234555690),
                "ended_at": at(1745234580143), "updated_at": at(1745234580184), "duration_ms": 24453,
            },
        ),
    ],
)  # fmt: skip
def test_an_execution_of_a_list_lands_whole(
    bench: FlowBench, simulator: Simulator, url: str, sample: str, told: int, execution_id: str,
    expected: dict[str, Any],
) -> None:  # fmt: skip
    answer_with(simulator, "/executions", sample)
    report = bench.run(simulator, url)
    assert not report.failures
    assert bench.value("SELECT count(*) FROM history.executions") == 2
    assert bench.value("SELECT count(*) FROM syncer.quarantine") == 0
    assert set(bench.rows("SELECT told_total, read_ids, verdict FROM syncer.window_audit")) == {
        (told, 2, "disputed")
    }
    # No sample shows the steps of these executions, so the simulator has none.
    expected = {
        **COMMON, **expected, "categories": categories([None]), "variables": None, "steps_state": "gone",
    }  # fmt: skip
    assert execution_row(bench, execution_id, expected) == expected


def test_the_reason_of_a_failure_names_no_machine_and_no_account(
    bench: FlowBench, simulator: Simulator, url: str
) -> None:
    answer_with(simulator, "/executions", "executions")
    bench.run(simulator, url)
    reason = stored(bench, "executions", "status = 'Error'")["failure_reason"]
    assert reason.startswith("Task failed with status: FAILED and reason:")
    assert not [
        word for word in ("c2bcbbb8", "arn:", "993493008830", "i-0663d3f3", "9OV9AW") if word in reason
    ]


def test_an_execution_read_by_its_id_brings_its_variables(
    bench: FlowBench, simulator: Simulator, url: str
) -> None:
    async def read(session: Session) -> Report:
        ref = ExecutionRef(
            execution_id=EXECUTION, workflow_id=WORKFLOW, partition=WORKFLOW, has_ended=True,
            created_at=datetime(2025, 4, 30, 10, 6, 2, 42_000, UTC),
        )  # fmt: skip
        look = await session.source.read_execution(ref)
        await land(session, look.execution)
        return session.report

    bench.run(simulator, url, read)
    expected = {
        **COMMON, **SUCCEEDED, "created_at": at(1746007562042), "started_at": at(1746007562041),
        "ended_at": at(1746007633052), "updated_at": at(1746007633097), "duration_ms": 71011,
        "variables": ["region=us-east-1"], "categories": categories([[]]), "steps_state": "due",
    }  # fmt: skip
    assert execution_row(bench, EXECUTION, expected) == expected


def steps_execution(**fields: Any) -> bytes:
    """The row of the execution whose steps are shown; the samples show only its steps."""
    record = {
        "id": STEPS_EXECUTION, "execution": STEPS_EXECUTION, "workflow": WORKFLOW, "customerId": CUSTOMER,
        "createdAt": 1746010375001, "startDate": 1746010375000, "executionType": "Simple", "source": "UI",
        "tags": [f"created_by={CREATOR}"], "parDateKey": "2025-04-30T00:00:00.000Z", **fields,
    }  # fmt: skip
    return json.dumps(record).encode()


RUNNING = steps_execution(status="Running", updatedAt=1746010375001, endDate=None)
ENDED = steps_execution(status="Success", updatedAt=1746010430700, endDate=1746010430600)


def read_steps(bench: FlowBench, simulator: Simulator, url: str, row: bytes) -> None:
    """Land the execution's row, due as it then is, and work off the steps."""

    async def work(session: Session) -> Report:
        source = session.source
        assert isinstance(source, QualysFlow)
        async with session.running():
            await land(session, source.decode_execution(row))
            assert await sync_steps(session, Span(), running=row is RUNNING)
        return session.report

    assert bench.run(simulator, url, work).is_complete


@pytest.fixture
def copied(bench: FlowBench, simulator: Simulator, url: str) -> FlowBench:
    """Both samples of the list of steps: the begun ones read while the execution ran, all others when it had ended."""
    bench.run(simulator, url)
    answer_with(simulator, "/steps", "steps_since")
    read_steps(bench, simulator, url, RUNNING)
    simulator.fault = None
    read_steps(bench, simulator, url, ENDED)
    return bench


def test_the_events_of_both_samples_land_as_sent(copied: FlowBench) -> None:
    assert copied.rows(
        "SELECT event_id, node_id, node_type, event_order, status, created_at, updated_at, started_at, ended_at,"
        f" message, tags, extra FROM history.step_events WHERE execution_id = '{STEPS_EXECUTION}' ORDER BY event_id"
    ) == [
        ("01JT3580ZDJDN1427C44NE56BX", "trigger", "trigger", 1, "Running",
         at(1746010375149), at(1746010375149), at(1746010375084), None, None, None, None),
        ("01JT3583JM731H2TKDHDK8TJHF", "node-67649155-filter", "filter", 2, "Success",
         at(1746010377813), at(1746010377813), at(1746010377720), at(1746010377729),
         "2 Instances filtered", None, None),
        ("01JT3585TW8WRMAA0KESY9A0SP", "node-e3a84822-qualysevent", "qualysevent", 1, "Running",
         at(1746010380124), at(1746010380124), at(1746010380077), None, None, None, None),
        ("01JT3585YRG0DHQNS9DNN432X3", "node-e3a84822-qualysevent", "qualysevent", 2, "Success",
         at(1746010380248), at(1746010380248), at(1746010380100), at(1746010380193), "1 events sent", None, None),
        ("01JT3586DVKJE6ESFK2DNP15A9", "node-e3a84822-post-event", "post-event", 1, "Running",
         at(1746010380731), at(1746010380731), at(1746010380678), None, None, None, None),
        ("01JT359MNDCV83CTYGPP95RB0R", "node-e3a84822-post-event", "post-event", 2, "Success",
         at(1746010428077), at(1746010428077), at(1746010427974), at(1746010428028), "Success", None, None),
        ("01JT359NAD5FJE0S2BXCAK86JR", "node-e3a84822-post-workflow-trigger", "post-workflow-trigger", 2, "Success",
         at(1746010428749), at(1746010428749), at(1746010428645), at(1746010428707), "Success", None, None),
        ("01JT359Q39BZ9946H04WJWS12N", "node-ea318327-action", "action", 2, "Success",
         at(1746010430570), at(1746010430569), at(1746010429394), at(1746010430521),
         "2 Instances acted on", None, None),
    ]  # fmt: skip


def test_a_step_begins_with_its_first_event_and_ends_with_its_last(copied: FlowBench) -> None:
    assert copied.rows(
        "SELECT position, node_id, attempt, node_name, status, outcome, message, started_at, ended_at, duration_ms,"
        f" event_count FROM history.steps WHERE execution_id = '{STEPS_EXECUTION}' ORDER BY position"
    ) == [
        (1, "trigger", 1, "Trigger", "Running", "unknown", None, at(1746010375084), None, None, 1),
        (2, "node-67649155-filter", 1, "Filter", "Success", "succeeded", "2 Instances filtered",
         at(1746010377720), at(1746010377729), 9, 1),
        (3, "node-e3a84822-qualysevent", 1, None, "Success", "succeeded", "1 events sent",
         at(1746010380077), at(1746010380193), 116, 2),
        (4, "node-e3a84822-post-event", 1, None, "Success", "succeeded", "Success",
         at(1746010380678), at(1746010428028), 47350, 2),
        (5, "node-e3a84822-post-workflow-trigger", 1, None, "Success", "succeeded", "Success",
         at(1746010428645), at(1746010428707), 62, 1),
        (6, "node-ea318327-action", 1, "AWS Action (2)", "Success", "succeeded", "2 Instances acted on",
         at(1746010429394), at(1746010430521), 1127, 1),
    ]  # fmt: skip


def test_the_execution_counts_its_steps_and_is_settled(copied: FlowBench) -> None:
    row = stored(copied, "executions", f"execution_id = '{STEPS_EXECUTION}'")
    assert (row["steps_state"], row["step_count"], row["failed_step_count"]) == ("read", 6, 0)
    assert row["ended_at"] == at(1746010430600)
    assert row["settled_at"] is not None


def test_the_packed_input_and_output_land_as_the_documents_they_hold(copied: FlowBench) -> None:
    row = stored(copied, "step_io", "node_id = 'node-e3a84822-qualysevent'")
    given = json.loads((DATA / "step_input_decoded.json").read_text())
    made = json.loads((DATA / "step_output_decoded.json").read_text())
    # Paths and secrets were looked up in the sample: keys, and keys of pairs, that end with "credentials" or "token".
    given["credentials"] = given["globalVariables"]["credentials"] = REDACTED
    for event in (given["collection"][0], made[0]):
        variables = event["overrideVariables"]
        assert variables[2]["key"] == "credentials"
        variables[2]["value"] = REDACTED
        variables[4]["value"]["params"]["NextToken"] = REDACTED
        variables[5]["value"]["InstanceStopped"]["params"]["NextToken"] = REDACTED
    assert row["input"] == given
    assert row["output"] == made
    within = ("2/value", "4/value/params/NextToken", "5/value/InstanceStopped/params/NextToken")
    assert sorted(row["redacted_paths"]) == sorted(
        [
            "/input/credentials",
            "/input/globalVariables/credentials",
            *(f"/input/collection/0/overrideVariables/{path}" for path in within),
            *(f"/output/0/overrideVariables/{path}" for path in within),
        ]
    )
    assert (row["input_state"], row["input_bytes"], row["input_raw"]) == ("decoded", 4256, None)
    assert (row["output_state"], row["output_bytes"], row["output_raw"]) == ("decoded", 3085, None)


def test_a_node_whose_payload_is_not_served_has_none(copied: FlowBench) -> None:
    others = copied.rows(
        "SELECT input, output, input_state, output_state FROM history.step_io"
        " WHERE node_id <> 'node-e3a84822-qualysevent'"
    )
    assert others == [(None, None, "absent", "absent")] * 5
