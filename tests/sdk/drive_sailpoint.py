"""Calls SailPoint's own SDK, in the interpreter of that SDK: what to call comes in as JSON, what it gave goes out.

A line in: {"url", "client_id", "client_secret", "package": "sailpoint.v2024", "calls": [[method, {argument: value}]]};
the method `paginate` hands the one named in its argument `method` to the SDK's Paginator.
A line out: for each call {"value": ...} or {"error": {...}}. What the SDK prints goes to standard error.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
import warnings
from typing import Any


def main() -> None:
    answers = sys.stdout
    warnings.simplefilter("ignore")  # words that are not in an enumeration
    with contextlib.redirect_stdout(sys.stderr):
        for line in sys.stdin:
            answers.write(json.dumps(_gave(json.loads(line)), default=str) + "\n")
            answers.flush()


def _gave(asked: dict[str, Any]) -> list[dict[str, object]]:
    try:
        api = _api(asked)
    except Exception as error:  # noqa: BLE001 - it obtains its token before it is asked for anything
        return [_error(error)] * len(asked["calls"])
    return [_outcome(api, method, arguments) for method, arguments in asked["calls"]]


def _api(asked: dict[str, Any]) -> Any:
    from sailpoint.configuration import Configuration, ConfigurationParams

    known = ConfigurationParams()
    known.base_url, known.client_id = asked["url"], asked["client_id"]
    known.client_secret = asked["client_secret"]
    client = importlib.import_module(f"{asked['package']}.api_client").ApiClient(Configuration(known))
    return importlib.import_module(f"{asked['package']}.api.workflows_api").WorkflowsApi(client)


def _outcome(api: Any, method: str, arguments: dict[str, Any]) -> dict[str, object]:
    try:
        return {"value": _plain(_called(api, method, arguments))}
    except Exception as error:  # noqa: BLE001 - whatever it raises is what it gave
        return _error(error)


def _error(error: Exception) -> dict[str, object]:
    told = {"type": type(error).__name__, "status": getattr(error, "status", None), "text": str(error)[:500]}
    return {"error": told}


def _called(api: Any, method: str, arguments: dict[str, Any]) -> Any:
    if method != "paginate":
        return getattr(api, method)(**arguments)
    from sailpoint.paginator import Paginator

    rest = dict(arguments)
    return Paginator.paginate(getattr(api, rest.pop("method")), 10_000, **rest)


def _plain(value: Any) -> Any:
    """As the SDK writes its models down."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value.to_dict() if hasattr(value, "to_dict") else value


if __name__ == "__main__":
    main()
