import os

import torch
from hypothesis import settings

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # children run other programs: gRPC's handlers only disturb them
torch.set_num_threads(1)  # tiny models: more threads only wait for each other
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None, max_examples=60)
settings.load_profile("repeatable")
