"""What both sides of the exchange's calls must know alike: the service, its versions, and who may call what."""

from __future__ import annotations

import re
from collections.abc import Mapping

from fedjoint.identity.certificates import Role
from fedjoint.transport.services import exchange_pb2 as api

__all__ = ["API_VERSIONS", "EVERYBODY", "MAX_REFERENCE_BYTES", "ROLES", "SERVICE", "handler_name"]

#: Oldest and newest version of the exchange's calls that this release speaks.
API_VERSIONS = (1, 1)
SERVICE = str(api.DESCRIPTOR.services_by_name["Exchange"].full_name)

EVERYBODY: tuple[Role, ...] = ("holder", "invited", "operator", "exchange")
_HOLDERS: tuple[Role, ...] = ("holder",)
_OPERATORS: tuple[Role, ...] = ("operator",)
#: A table of the exchange's own records may be so large: a request is one message of at most a link's frame.
MAX_REFERENCE_BYTES = 1 << 20
#: Method to the roles that it is for.
ROLES: Mapping[str, tuple[Role, ...]] = {
    "Hello": EVERYBODY,
    "Enrol": ("invited",),
    "Renew": _HOLDERS,
    "Leave": _HOLDERS,
    "RegisterDataset": _HOLDERS,
    "Agreements": _HOLDERS,
    "GetAgreement": _HOLDERS,
    "Sign": _HOLDERS,
    "Decline": _HOLDERS,
    "RunStatus": _HOLDERS,
    "Statements": _HOLDERS,
    "GetStatement": _HOLDERS,
    "Claims": _HOLDERS,
    "SignClaimStep": _HOLDERS,
    "Checkpoints": _HOLDERS,
    "Witness": _HOLDERS,
    "Propose": _OPERATORS,
    "Status": _OPERATORS,
}


def handler_name(method: str) -> str:
    """The handler's name for a method.

    Example:
        >>> handler_name("RegisterDataset")
        'register_dataset'
    """
    return re.sub(r"(?<!^)(?=[A-Z])", "_", method).lower()
