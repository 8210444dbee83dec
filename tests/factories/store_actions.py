"""S3's actions as a proxy sees them: which request needs which, and how a store refuses the one that is missing."""

from tests.fault_proxy import Answer, Fault, FaultProxy, Mode, Request

USER = "arn:aws:iam::123456789012:user/s4"


def action_of(request: Request, bucket: str) -> str:
    """What S3 asks for. Raises `ValueError` for a request that S4 is not known to make."""
    path, _, query = request.path.partition("?")
    of_bucket = path.strip("/") == bucket
    match request.method:
        case "GET" if of_bucket and "list-type=2" in query:
            return "s3:ListBucket"
        case "GET" | "HEAD" if not of_bucket:
            return "s3:GetObject"
        case "PUT" if not of_bucket:
            return "s3:PutObject"
        case "POST" if of_bucket and "delete" in query:
            return "s3:DeleteObject"
        case "POST" if not of_bucket and "upload" in query:
            return "s3:PutObject"
        case "DELETE" if not of_bucket:
            return "s3:AbortMultipartUpload" if "uploadId" in query else "s3:DeleteObject"
    raise ValueError(f"{request.method} {request.path} needs an action that the policy does not name")


def take_away(proxy: FaultProxy, action: str, bucket: str) -> None:
    """From here on the store refuses what needs `action`, in AWS's words."""

    def refused() -> Answer:
        message = f"User: {USER} is not authorized to perform: {action} on resource: arn:aws:s3:::{bucket}/x"
        body = f"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>{message}</Message></Error>"
        return Answer(403, {"Content-Type": "application/xml"}, body.encode())

    def missing_is_refused(answer: Answer) -> Answer:
        return refused() if answer.status == 404 else answer

    for method, path, unless in _REQUESTS[action]:
        proxy.add(Fault(Mode.ANSWER, method=method, path=path.format(bucket), unless=unless, answer=refused))
    if action == "s3:ListBucket":
        for method in ("GET", "HEAD"):  # of an object
            proxy.add(Fault(Mode.REWRITE, method=method, path=f"/{bucket}/", rewrite=missing_is_refused))


_REQUESTS = {
    "s3:PutObject": [("PUT", "/{}/", ""), ("POST", "/{}/", "delete")],
    "s3:GetObject": [("GET", "/{}/", "list-type"), ("HEAD", "/{}/", "")],
    "s3:DeleteObject": [("DELETE", "/{}/", "uploadId"), ("POST", "delete", "")],
    "s3:AbortMultipartUpload": [("DELETE", "uploadId", "")],
    "s3:ListBucket": [("GET", "list-type", "")],
}
"""Method, a part of the path, a part that it has not. By action."""

TAKEN_AWAY = tuple(_REQUESTS)
