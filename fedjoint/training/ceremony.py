"""Before the first round: holders prove who they are, one makes the key, the others take it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from fedjoint.agreement.canonical import canonical_bytes, sha256_hex
from fedjoint.encryption.ceremony import Acknowledgement, check_acknowledgement
from fedjoint.errors import FedjointError, TrainingError
from fedjoint.strict import plain
from fedjoint.training.plan import Channel, JoinReply, KeyReply, Kind, Log, Parcel, Refusal, TakeKeyTask, Task
from fedjoint.training.session import Session

__all__ = ["exchange_key", "join_holders"]

_Check = Callable[[str, Any], None]


def join_holders(channel: Channel, session: Session, log: Log) -> list[str]:
    """Send the signed agreement to every holder and check each one's proof that it takes part.

    Returns:
        Ids of those that joined, in the agreement's order.

    Raises:
        TrainingError: fewer than the agreed minimum joined.
    """
    agreement = session.agreement
    agreement.require_all_signatures()
    task = Parcel(body=_task(session), blobs={"agreement": agreement.to_bytes()})
    refused: dict[str, Refusal] = {}

    def check(holder: str, reply: JoinReply) -> None:
        session.check(holder, "join", {"holder": holder}, reply.signature)

    tasks = dict.fromkeys(agreement.terms.holder_ids, task)
    joined = [holder for holder, _ in _ask(channel, "join", tasks, refused, check)]
    log("holders.joined", {"holders": joined, "refusals": _codes(refused)})
    return _enough(joined, refused, session)


def exchange_key(channel: Channel, session: Session, joined: Sequence[str], log: Log) -> tuple[str, list[str]]:
    """Have the first holder that can make the key, relay it sealed to the others, compare what all acknowledge.

    Returns:
        The key's id and the holders that have it, in the agreement's order.

    Raises:
        TrainingError: nobody made a key, or fewer than the agreed minimum have the same one.
    """
    refused: dict[str, Refusal] = {}
    maker, made = _make_key(channel, session, joined, refused)
    acknowledged: dict[str, Acknowledgement] = {maker: made.acknowledgement}
    offers = {offer.recipient: offer for offer in made.offers}
    others = {
        holder: Parcel(body=TakeKeyTask(**session.address, offer=offers[holder]))
        for holder in joined
        if holder in offers and holder not in refused
    }

    def check(holder: str, reply: Acknowledgement) -> None:
        _check_acknowledged(session, holder, reply, made.acknowledgement.key_id)

    for holder, reply in _ask(channel, "take_key", others, refused, check):
        acknowledged[holder] = reply.body
    log(
        "key.shared",
        {
            "key_id": made.acknowledgement.key_id,
            "maker": maker,
            "offers_sha256": {offer.recipient: sha256_hex(canonical_bytes(offer)) for offer in made.offers},
            "acknowledgements": {holder: plain(value) for holder, value in sorted(acknowledged.items())},
            "refusals": _codes(refused),
        },
    )
    return made.acknowledgement.key_id, _enough(list(acknowledged), refused, session)


def _make_key(
    channel: Channel, session: Session, joined: Sequence[str], refused: dict[str, Refusal]
) -> tuple[str, KeyReply]:
    def check(holder: str, reply: KeyReply) -> None:
        _check_acknowledged(session, holder, reply.acknowledgement, reply.acknowledgement.key_id)

    for holder in joined:
        for _, reply in _ask(channel, "make_key", {holder: Parcel(body=_task(session))}, refused, check):
            return holder, reply.body
    raise TrainingError("no holder made a key", remedy="; ".join(refusal.message for refusal in refused.values()))


def _check_acknowledged(session: Session, holder: str, said: Acknowledgement, key_id: str) -> None:
    identity = session.terms.holder(holder).identity
    check_acknowledgement(said, holder=identity, key_id=key_id, binding=session.binding)


def _ask(
    channel: Channel, kind: Kind, tasks: Mapping[str, Parcel], refused: dict[str, Refusal], check: _Check
) -> Iterator[tuple[str, Parcel]]:
    """Give out the replies that pass a check; a holder whose reply does not is refused, and the others go on."""
    for holder, reply in channel.exchange(kind, tasks):
        if isinstance(reply, Refusal):
            refused[holder] = reply
            continue
        try:
            check(holder, reply.body)
        except FedjointError as problem:
            refused[holder] = Refusal.because(problem)
            continue
        yield holder, reply


def _task(session: Session) -> Task:
    return Task(**session.address)


def _codes(refused: Mapping[str, Refusal]) -> dict[str, str]:
    return {holder: refusal.code for holder, refusal in sorted(refused.items())}


def _enough(holders: list[str], refused: Mapping[str, Refusal], session: Session) -> list[str]:
    order = [holder for holder in session.terms.holder_ids if holder in holders]
    if len(order) < session.terms.training.minimum_holders:
        words = "; ".join(f"{holder}: {refusal.message}" for holder, refusal in sorted(refused.items()))
        raise TrainingError(
            f"{len(order)} holders take part, the agreement asks for {session.terms.training.minimum_holders}",
            remedy=words or "Bring the others in.",
        )
    return order
