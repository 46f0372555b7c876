"""``python -m fedjoint``."""

from fedjoint.cli.main import main

if __name__ == "__main__":
    main()
