"""How the key reaches every holder and nobody else.

One holder makes the key and seals it to each other holder's X25519 key as pinned in the agreement; the coordinator
relays about 3 kB a holder and cannot read it. Each holder then acknowledges: signed for everybody, tagged for whoever
has the key. A new run, and any change of members, needs a new key.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, replace

import rfc8785

from fedjoint.encryption.binding import Binding
from fedjoint.encryption.keys import SecretKey
from fedjoint.encryption.parameters import Parameters
from fedjoint.errors import EncryptionError
from fedjoint.identity.keys import Identity, PublicIdentity
from fedjoint.strict import plain, strict

__all__ = [
    "Acknowledgement",
    "KeyOffer",
    "acknowledge",
    "check_acknowledgement",
    "check_possession",
    "make_offers",
    "take_key",
]

_MAX_BOX_HEX = 8192


@strict
@dataclass(frozen=True, kw_only=True)
class KeyOffer:
    """The key for one holder: sealed to it, signed by who made it; plain JSON through ``fedjoint.strict``."""

    binding: Binding
    key_id: str
    maker: str
    recipient: str
    box: str
    signature: str = ""


@strict
@dataclass(frozen=True, kw_only=True)
class Acknowledgement:
    """A holder's word that it has the key: signed, and tagged with the key itself."""

    binding: Binding
    key_id: str
    holder: str
    tag: str
    signature: str = ""


def _signed_bytes(message: KeyOffer | Acknowledgement) -> bytes:
    return rfc8785.dumps(plain(replace(message, signature="")))


def _purpose(binding: Binding, key_id: str, recipient: str) -> str:
    """What a box is sealed for, so that it opens nowhere else."""
    return f"key/{binding.agreement_sha256}/{binding.run_id}/{key_id}/{recipient}"


def make_offers(key: SecretKey, *, maker: Identity, recipients: Sequence[PublicIdentity]) -> tuple[KeyOffer, ...]:
    """Seal a new key to each other holder.

    Args:
        key: From :func:`fedjoint.encryption.tenseal_scheme.create_key`, for this run only.
        maker: The holder that made it.
        recipients: The other holders, as pinned in the agreement.

    Returns:
        One offer for each recipient, in order; each about 3 kB as JSON.
    """
    packed, binding = key.pack(), key.binding
    offers = []
    for recipient in recipients:
        box = recipient.seal(_purpose(binding, key.key_id, recipient.id), packed).hex()
        offer = KeyOffer(binding=binding, key_id=key.key_id, maker=maker.id, recipient=recipient.id, box=box)
        offers.append(replace(offer, signature=maker.sign("key-offer", _signed_bytes(offer))))
    return tuple(offers)


def take_key(
    offer: KeyOffer, *, recipient: Identity, maker: PublicIdentity, binding: Binding, parameters: Parameters
) -> SecretKey:
    """Open an offer; nothing is opened before its signature holds.

    Args:
        offer: As relayed.
        recipient: This holder.
        maker: The holder that makes the key, as pinned in the agreement.
        binding: The run this holder is in.
        parameters: The run's, as this holder derives them from the agreement.

    Raises:
        IdentityError: not signed by the maker, or not sealed to this holder.
        EncryptionError: for another run, holder or parameters, or a key that is not the one it says.
    """
    if len(offer.box) > _MAX_BOX_HEX:
        raise EncryptionError(f"a sealed key of {len(offer.box)} digits", expected=f"at most {_MAX_BOX_HEX}")
    maker.verify("key-offer", _signed_bytes(offer), offer.signature)
    if offer.binding != binding or offer.recipient != recipient.id or offer.maker != maker.id:
        raise EncryptionError(
            f"this key was offered to '{offer.recipient}' by '{offer.maker}' for run {offer.binding.run_id[:16]}",
            expected=f"'{recipient.id}', '{maker.id}' and run {binding.run_id[:16]}",
            remedy="The coordinator must relay each offer to its own recipient and run.",
        )
    try:
        box = bytes.fromhex(offer.box)
    except ValueError:
        raise EncryptionError("the sealed key is not hex", remedy="Ask its maker for another.") from None
    key = SecretKey.unpack(recipient.open(_purpose(binding, offer.key_id, recipient.id), box), parameters, binding)
    if key.key_id != offer.key_id:
        raise EncryptionError(
            f"the key offered as {offer.key_id[:16]} is {key.key_id[:16]}",
            remedy="Its maker has another key or other parameters: compare the agreements.",
        )
    return key


def acknowledge(key: SecretKey, *, holder: Identity) -> Acknowledgement:
    """State that this holder has the key, so that all holders can be compared before the first round.

    Args:
        key: What :func:`take_key` gave, or the maker's own.
        holder: This holder.
    """
    tag = key.tag(_possession(key.binding, holder.id)).hex()
    said = Acknowledgement(binding=key.binding, key_id=key.key_id, holder=holder.id, tag=tag)
    return replace(said, signature=holder.sign("key-acknowledgement", _signed_bytes(said)))


def check_acknowledgement(said: Acknowledgement, *, holder: PublicIdentity, binding: Binding, key_id: str) -> None:
    """Check what can be checked without the key: signature, run, and the same key id as all others.

    Raises:
        IdentityError: not signed by the holder.
        EncryptionError: another holder, run or key.
    """
    holder.verify("key-acknowledgement", _signed_bytes(said), said.signature)
    if said.holder != holder.id or said.binding != binding or said.key_id != key_id:
        raise EncryptionError(
            f"'{said.holder}' has key {said.key_id[:16]} of run {said.binding.run_id[:16]}",
            expected=f"'{holder.id}', key {key_id[:16]} and run {binding.run_id[:16]}",
            remedy="Make a new key for this run.",
        )


def check_possession(said: Acknowledgement, key: SecretKey) -> None:
    """Check with the key that who acknowledged has it too.

    Raises:
        EncryptionError: the tag was made without this key.
    """
    if not hmac.compare_digest(said.tag.encode(), key.tag(_possession(said.binding, said.holder)).hex().encode()):
        raise EncryptionError(f"'{said.holder}' acknowledged a key that it does not have", remedy="Make a new key.")


def _possession(binding: Binding, holder_id: str) -> bytes:
    return rfc8785.dumps({"binding": plain(binding), "holder": holder_id})
