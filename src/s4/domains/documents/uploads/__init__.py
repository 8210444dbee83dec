"""The write protocol for bytes: `service` receives, `room` holds them to the plan, `model` says what both speak of."""

from s4.domains.documents.uploads.model import FinishRequest, UploadLimits, UploadRequest, UploadResult
from s4.domains.documents.uploads.service import Uploads

__all__ = ["FinishRequest", "UploadLimits", "UploadRequest", "UploadResult", "Uploads"]
