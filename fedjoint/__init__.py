"""fedjoint: train one model across data holders, in private, and pay each by what its data added.

``import fedjoint`` is cheap: it loads no torch, flwr, tenseal or grpc. Import what you use from the subpackages,
for example ``from fedjoint.simulation.simulate import simulate``.
"""

__version__ = "0.1.0"
