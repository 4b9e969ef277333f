"""``--print-config``: the settings in force, as an environment file, with secrets masked."""

from __future__ import annotations

from wsaas import __version__
from wsaas.settings.read import Reading
from wsaas.settings.table import SETTINGS


def _line(name: str, text: str) -> str:
    return f"{name}='{text}'" if "\n" in text or "\\" in text else f"{name}={text}"


def shown(reading: Reading, max_connections: int) -> list[str]:
    """List all settings that are in force, in the order of the table.

    :param reading: the settings, which can be used
    :param max_connections: the default of ``WS_MAX_CONNECTIONS``
    :returns: an assignment for each; a default stands behind a ``#``, as in ``wsaas.env``
    """
    derived = {"WS_HOSTNAME": reading.parsed["WS_HOSTNAME"], "WS_MAX_CONNECTIONS": str(max_connections)}
    lines = [f"# wsaas {__version__}{' --demo' if reading.demo else ''}"]
    for setting in SETTINGS:
        path = reading.path_shown(setting)
        if path is not None:
            lines.append(_line(f"{setting.name}_FILE", path))
        elif setting.name in reading.values:
            lines.append(_line(setting.name, reading.shown(setting)))
        else:
            lines.append(_line(f"#{setting.name}", derived.get(setting.name, setting.default or "")))
    return lines
