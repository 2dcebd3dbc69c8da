"""The samples of the documents are served as they stand there."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re

import pytest

from syncer.simulator import Answer, Request
from syncer.simulator.qualys_flow import Simulator
from syncer.simulator.qualys_flow.seeds import seed

WORKFLOW = "/qflowapi/v1/workflows/f516bcf4-f6fb-46ac-a54f-ddbcf2a2d24a"
EXECUTION = "/qflowapi/v1/executions/0e71f117-648f-4ad2-a3a9-8f1b857a1b70"
STEPS = "/qflowapi/v1/executions/0e72b4a1-abea-45b2-9ae9-91cd87506404/steps"
SPAN = "&endAt=2025-05-12T01%3A45%3A36.220Z&startAt=2025-04-20T01%3A45%3A36.220Z"
STEP = f"{STEPS}/node-e3a84822-qualysevent"

# Taken from the documents once, with every no-break space as a space.
DIGESTS = {
    "execution": "5a8d9718b47ab0fb2ebddf8127ead9758a18b073a5ccb312eff28247a2eeed54",
    "executions": "a9a1535c87d378331c8c0180fce654e2ba859cdadb1dbddf942fc95b14591d75",
    "executions_since": "35204a8d8b90a71d5856f53072a5abfa05b8b8fa2de71b4958043ac44fcaf845",
    "run": "0052f361741c3c3ae528e70a9d951158f9781ad36a3cd874663d2d2e21e4d28b",
    "step": "c0770c23d94e61a513933d731428f99c29c366dc7d1d441ed5797287928520ce",
    "step_input": "5a2151533b244bda4e70f512404fa070c783b02ff007433afca28466326a1397",
    "step_output": "30232bf2c6eccbaf1ac786d3c9c60191e3e4049d9562c4cf4fda9c0cd1570b11",
    "steps": "29aa24123a7a9084a6ee9e3abd63cf68c79e8e0fac45c7317805216ee70d735b",
    "steps_since": "41b12335935a3189e52336623f71fe48c08720ee37fc838641c1f7e4a0ee5df1",
    "workflow": "b655de9889fbd12bf0d92ca694b3e6c707650d024a150f116f86296f71b6e8ed",
}


def ask(simulator: Simulator, target: str, method: str = "GET") -> Answer:
    headers = {"authorization": f"Bearer {simulator.issue_token()}"}
    return simulator.answer(Request(method, target, headers))


@pytest.mark.parametrize("name", DIGESTS)
def test_a_sample_is_kept_byte_for_byte(name: str) -> None:
    assert hashlib.sha256(seed(name)).hexdigest() == DIGESTS[name]


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (f"{WORKFLOW}/executions?pageSize=2&pageNumber=1", "executions"),
        (
            f"{WORKFLOW}/executions?pageSize=2&pageNumber=1{SPAN}&order=createdAt",
            "executions_since",
        ),
        (WORKFLOW, "workflow"),
        (f"{EXECUTION}?includeSteps=false", "execution"),
        (STEPS, "steps"),
        (f"{STEPS}?&startAt=2025-03-20T01%3A45%3A36.220Z&order=status", "steps_since"),
        (STEP, "step"),
        (f"{STEP}/input", "step_input"),
        (f"{STEP}/output", "step_output"),
    ],
)
def test_a_sample_is_served_at_its_path(target: str, name: str) -> None:
    answer = ask(Simulator.from_seeds(), target)
    assert (answer.status, answer.body) == (200, seed(name))


def test_the_list_of_workflows_holds_the_workflow_of_the_details() -> None:
    listed = json.loads(ask(Simulator.from_seeds(), "/qflowapi/v1/workflows?pageSize=9&pageNumber=1").body)
    assert listed == {"total": "1", "items": [json.loads(seed("workflow"))["data"]]}


def test_a_second_page_of_samples_is_empty() -> None:
    answer = ask(Simulator.from_seeds(), f"{WORKFLOW}/executions?pageSize=2&pageNumber=2")
    assert json.loads(answer.body) == {"total": "17", "items": []}


def test_what_the_documents_do_not_show_does_not_exist() -> None:
    assert ask(Simulator.from_seeds(), f"{EXECUTION}/steps").status == 404


def test_the_clock_of_the_samples_keeps_them_inside_the_horizon() -> None:
    times = [int(time) for name in DIGESTS for time in re.findall(rb'"createdAt": ?(\d{13})', seed(name))]
    now_ms = Simulator.from_seeds().clock.now_ms()
    assert len(times) == 15
    assert now_ms - 30 * 86_400_000 < min(times) <= max(times) < now_ms


@pytest.mark.parametrize("side", ["input", "output"])
def test_the_encoded_payload_of_the_step_is_the_one_of_its_own_path(side: str) -> None:
    encoded = json.loads(seed("step"))[side]
    assert gzip.decompress(base64.b64decode(encoded)).decode() == json.loads(seed(f"step_{side}"))
