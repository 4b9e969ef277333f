"""``--print-config``: the settings in force, as an environment file, with secrets masked."""

from __future__ import annotations

from wsaas import __version__
from wsaas.settings.read import Reading, Settings
from wsaas.settings.table import SETTINGS
from wsaas.settings.values import without_secrets


def _line(name: str, text: str) -> str:
    return f"{name}='{text}'" if "\n" in text or "\\" in text else f"{name}={text}"


def first_line(settings: Settings) -> str:
    """:returns: what the log begins with: which gateway this is, and between whom, without secrets"""
    api = "the demo's API" if settings.api_uri is None else f"API_URI={without_secrets(settings.api_uri.uri)}"
    state = "no STATE_DIR" if settings.state_dir is None else f"STATE_DIR={settings.state_dir}"
    return f"wsaas {__version__}: {api}, WS_HOSTNAME={settings.hostname}, {state}"


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
