"""NVFlare's own HE path: its provisioned context, client filters, codec and aggregator, on one flat tensor.

Run in an environment with nvflare[HE]. One flat tensor is its best case: its codec sends the whole context with every
tensor. The sum is from bytes (its codec makes ciphertexts of them) to what it sends back; it divides by the number of
holders under encryption, so the result is a mean.
"""

import logging
from typing import Any

import numpy as np
import tenseal as ts
from serving import Scheme, cpu, serve

logging.disable(logging.CRITICAL)

from nvflare.apis.dxo import DXO, DataKind, from_shareable  # noqa: E402
from nvflare.apis.event_type import EventType  # noqa: E402
from nvflare.apis.fl_constant import ReservedKey  # noqa: E402
from nvflare.apis.fl_context import FLContext  # noqa: E402
from nvflare.apis.shareable import Shareable  # noqa: E402
from nvflare.app_common.app_constant import AppConstants  # noqa: E402
from nvflare.app_opt.he.intime_accumulate_model_aggregator import HEInTimeAccumulateWeightedAggregator  # noqa: E402
from nvflare.app_opt.he.model_decryptor import HEModelDecryptor  # noqa: E402
from nvflare.app_opt.he.model_encryptor import HEModelEncryptor  # noqa: E402
from nvflare.fuel.utils import fobs  # noqa: E402
from nvflare.lighter.impl.he import HEBuilder  # noqa: E402


class NvflareHe(Scheme):
    """One job's filters and aggregator, with the context that its provisioning makes by default."""

    #: Its context is in every client's kit: made once, as it is there.
    _kit: bytes | None = None

    def __init__(self, parameters: int, holders: int, values_per_word: int) -> None:
        super().__init__(parameters, holders, values_per_word)
        if NvflareHe._kit is None:
            builder = HEBuilder()
            builder.initialize(None, None)
            NvflareHe._kit = builder.get_serialized_context(is_client=True)
        context = ts.context_from(NvflareHe._kit)
        self._encryptor = HEModelEncryptor(weigh_by_local_iter=False)
        self._encryptor.tenseal_context, self._encryptor.encrypt_layers = context, [True]
        self._decryptor = HEModelDecryptor()
        self._decryptor.tenseal_context = context
        self._fl = FLContext()
        peer = FLContext()
        peer.put(key=ReservedKey.IDENTITY_NAME, value="site-1", private=False, sticky=False)
        self._fl.set_peer_context(peer)
        self._fl.set_prop(AppConstants.CURRENT_ROUND, 0)

    def encrypt(self, values: Any, place: int) -> Any:
        """The client's filter, then its codec."""
        dxo = DXO(DataKind.WEIGHT_DIFF, data={"w": values})
        return fobs.dumps(self._encryptor.process_dxo(dxo, Shareable(), self._fl).to_shareable())

    def start_sum(self) -> None:
        """The server's aggregator."""
        self._aggregator = HEInTimeAccumulateWeightedAggregator(weigh_by_local_iter=False)
        self._aggregator.handle_event(EventType.START_RUN, self._fl)
        self._addition_s = 0.0

    def add(self, data: Any, place: int) -> None:
        """Its codec, then the aggregator."""
        reply = fobs.loads(data)
        reply.set_peer_props({ReservedKey.IDENTITY_NAME: f"site-{place}"})
        reply.add_cookie(AppConstants.CONTRIBUTION_ROUND, 0)
        accepted, seconds = cpu(lambda: self._aggregator.accept(reply, self._fl))
        if not accepted:
            raise RuntimeError("NVFlare's aggregator did not accept a reply")
        self._addition_s += seconds

    def finish_sum(self) -> Any:
        """The aggregate, as the server hands it to its codec."""
        total, seconds = cpu(lambda: self._aggregator.aggregate(self._fl))
        self._addition_s += seconds
        return total

    def addition_s(self) -> float:
        """Of accept and aggregate."""
        return self._addition_s

    def send(self, total: Any) -> Any:
        """Its codec."""
        return fobs.dumps(total)

    def receive(self, data: Any) -> Any:
        """Its codec."""
        return fobs.loads(data)

    def decrypt(self, total: Any) -> Any:
        """The client's filter."""
        return self._decryptor.process_dxo(from_shareable(total), total, self._fl).data["w"]

    def expected(self, updates: list[Any]) -> Any:
        """It gives the mean."""
        return np.mean(updates, axis=0, dtype=np.float64)


if __name__ == "__main__":
    serve(NvflareHe)
