"""Rewards: the verifier that judges answers, and the audit of the references it judges by.

Importing this costs milliseconds: sympy and math-verify load only in worker processes, when an answer needs them.
"""

from reasoning_pipeline.verifier.audit import ReferenceAudit, audit_references
from reasoning_pipeline.verifier.extraction import extract_answer
from reasoning_pipeline.verifier.verifier import Verifier, shared_verifier
from reasoning_pipeline.verifier.versions import VERIFIER_VERSION, verifier_versions

__all__ = [
    "VERIFIER_VERSION",
    "ReferenceAudit",
    "Verifier",
    "audit_references",
    "extract_answer",
    "shared_verifier",
    "verifier_versions",
]
