"""The run as Flower apps: one ClientApp, one ServerApp, the same in simulation and deployment."""
