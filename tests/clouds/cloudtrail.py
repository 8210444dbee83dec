"""Events as CloudTrail writes them, as much of them as filters look at; the shapes are those of its user guide."""

from typing import Any

BUCKET, ROLE, LOG_BUCKET, LOG_GROUP = "my-bucket", "s4", "arn:LogBucket", "arn:ChangesLogGroup"
"""Resources of the template as `templates.made` calls them."""


def event(service: str, call: str, /, *, read_only: bool = False, **request: Any) -> dict[str, Any]:
    return {
        "eventVersion": "1.09",
        "userIdentity": {
            "type": "AssumedRole",
            "arn": "arn:aws:sts::123456789012:assumed-role/admin/alice",
            "accountId": "123456789012",
        },
        "eventTime": "2026-01-02T03:04:05Z",
        "eventSource": f"{service}.amazonaws.com",
        "eventName": call,
        "awsRegion": "us-east-1",
        "sourceIPAddress": "198.51.100.7",
        "requestParameters": request or None,
        "responseElements": None,
        "readOnly": read_only,
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": "123456789012",
        "eventCategory": "Management",
    }


CHANGES: dict[str, list[dict[str, Any]]] = {
    "PolicyChanges": [
        event("s3", name, bucketName=BUCKET)
        for name in (
            "PutBucketPolicy",
            "DeleteBucketPolicy",
            "PutBucketAcl",
            "PutBucketPublicAccessBlock",
            "DeleteBucketPublicAccessBlock",
            "PutBucketEncryption",
            "DeleteBucketEncryption",
            "PutBucketVersioning",
            "PutBucketReplication",
            "DeleteBucketReplication",
            "PutBucketOwnershipControls",
            "DeleteBucket",
        )
    ]
    # What was refused has been tried.
    + [event("s3", "PutBucketPolicy", bucketName=BUCKET) | {"errorCode": "AccessDenied"}],
    "LifecycleChanges": [
        event("s3", name, bucketName=BUCKET)
        for name in (
            "PutBucketLifecycle",
            "PutBucketLifecycleConfiguration",
            "DeleteBucketLifecycle",
            "PutBucketObjectLockConfiguration",
        )
    ],
    "KeyChanges": [
        event("kms", name, keyId="1234abcd-12ab-34cd-56ef-1234567890ab")
        for name in (
            "ScheduleKeyDeletion",
            "DisableKey",
            "PutKeyPolicy",
            "DisableKeyRotation",
            "DeleteImportedKeyMaterial",
        )
    ]
    + [event("kms", "UpdateAlias", aliasName="alias/s4")],
    "RoleChanges": [
        event("iam", name, roleName=ROLE)
        for name in (
            "AttachRolePolicy",
            "DetachRolePolicy",
            "PutRolePolicy",
            "DeleteRolePolicy",
            "UpdateAssumeRolePolicy",
            "PutRolePermissionsBoundary",
            "DeleteRolePermissionsBoundary",
            "DeleteRole",
        )
    ]
    + [
        event("iam", name, policyArn="arn:aws:iam::123456789012:policy/s4")
        for name in ("CreatePolicyVersion", "SetDefaultPolicyVersion")
    ],
    "TrailChanges": [
        event("cloudtrail", "StopLogging", name="s4-changes"),
        event("cloudtrail", "DeleteTrail", name="s4-changes"),
        event("cloudtrail", "UpdateTrail", name="s4-changes"),
        event("cloudtrail", "PutEventSelectors", trailName="s4-objects"),
        event("s3", "PutBucketPolicy", bucketName=LOG_BUCKET),
        event("logs", "DeleteLogGroup", logGroupName=LOG_GROUP),
        event("logs", "DeleteMetricFilter", logGroupName=LOG_GROUP, filterName="x"),
    ],
}
"""By the filter that must see them, and no other."""

EVERYDAY = [
    event("s3", "GetBucketPolicy", read_only=True, bucketName=BUCKET),
    event("s3", "GetBucketLifecycle", read_only=True, bucketName=BUCKET),
    event("s3", "ListBuckets", read_only=True),
    event("s3", "PutBucketPolicy", bucketName="somebody-elses"),
    event("s3", "PutBucketTagging", bucketName=BUCKET),
    event("kms", "GenerateDataKey", keyId="1234abcd-12ab-34cd-56ef-1234567890ab"),
    event("kms", "Decrypt", keyId="1234abcd-12ab-34cd-56ef-1234567890ab"),
    event("kms", "CreateKey"),
    event("iam", "GetRole", read_only=True, roleName=ROLE),
    event("iam", "AttachRolePolicy", roleName="somebody-elses"),
    event("sts", "AssumeRole", read_only=True, roleArn=f"arn:aws:iam::123456789012:role/{ROLE}"),
    event("cloudtrail", "LookupEvents", read_only=True),
    event("logs", "CreateLogStream", logGroupName=LOG_GROUP),
    event("ecs", "UpdateService", service="s4-api"),
]
"""What nobody wants to be told."""
