"""Calls Huawei's own SDKs, in their interpreter: what to call comes in as JSON, what they gave goes out.

A line in: {"url", "access_key", "secret_key", "project_id" or "project", "calls": [[operation, {attribute: value}]]};
with `project`, a region's name, the SDK asks IAM for the project's id; the operation `token` obtains one by password.
A line out: for each call {"value": ...} or {"error": {...}}.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from huaweicloudsdkcore.auth.credentials import BasicCredentials, GlobalCredentials
from huaweicloudsdkcore.exceptions.exceptions import SdkException
from huaweicloudsdkcore.region.region import Region
from huaweicloudsdkiam import v3 as iam
from huaweicloudsdksecmaster import v1 as secmaster


def main() -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        gave = [_outcome(asked, operation, attributes) for operation, attributes in asked["calls"]]
        sys.stdout.write(json.dumps(gave, default=str) + "\n")
        sys.stdout.flush()


def _outcome(asked: dict[str, Any], operation: str, attributes: dict[str, Any]) -> dict[str, object]:
    try:
        if operation == "token":
            return {"value": _token(asked, attributes)}
        return {"value": _called(_client(asked), operation, attributes).to_dict()}
    except SdkException as error:
        names = ("status_code", "error_code", "error_msg", "request_id")
        return {
            "error": {"type": type(error).__name__, **{name: getattr(error, name, None) for name in names}}
        }


def _client(asked: dict[str, Any]) -> Any:
    builder = secmaster.SecMasterClient.new_builder()
    keys = asked["access_key"], asked["secret_key"]
    if "project_id" in asked:
        signed = BasicCredentials(*keys, asked["project_id"])
        return builder.with_credentials(signed).with_endpoints([asked["url"]]).build()
    signed = BasicCredentials(*keys).with_iam_endpoint(asked["url"])
    return builder.with_credentials(signed).with_region(Region(asked["project"], asked["url"])).build()


def _called(client: Any, operation: str, attributes: dict[str, Any]) -> Any:
    words = operation.title().replace("_", "")
    request = getattr(secmaster, f"{words}Request")()
    for name, value in attributes.items():
        setattr(request, name, value)
    return getattr(client, operation)(request)


def _token(asked: dict[str, Any], given: dict[str, str]) -> dict[str, object]:
    user = iam.PwdPasswordUser(
        domain=iam.PwdPasswordUserDomain(name=given["domain"]),
        name=given["username"],
        password=given["password"],
    )
    identity = iam.PwdIdentity(methods=["password"], password=iam.PwdPassword(user=user))
    scope = iam.AuthScope(project=iam.AuthScopeProject(name=given["project"]))
    body = iam.KeystoneCreateUserTokenByPasswordRequestBody(auth=iam.PwdAuth(identity=identity, scope=scope))
    anyone = GlobalCredentials(asked["access_key"], asked["secret_key"], "domain")
    client = iam.IamClient.new_builder().with_credentials(anyone).with_endpoints([asked["url"]]).build()
    answer = client.keystone_create_user_token_by_password(
        iam.KeystoneCreateUserTokenByPasswordRequest(body=body)
    )
    return {"header": answer.x_subject_token, "token": answer.token.to_dict()}


if __name__ == "__main__":
    main()
