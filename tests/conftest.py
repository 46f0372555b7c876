import torch
from hypothesis import settings

torch.set_num_threads(1)  # tiny models: more threads only wait for each other
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None, max_examples=60)
settings.load_profile("repeatable")
