"""``python -m wsaas``: the command ``wsaas``."""

from wsaas.command.main import main

if __name__ == "__main__":
    main()
