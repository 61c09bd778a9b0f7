"""The stage of the kernel's tests: a provider that plays a script, a scene, other sessions."""

from __future__ import annotations

from kernel.conftest import in_background, play, play_server, scene

__all__ = ["in_background", "play", "play_server", "scene"]  # fixtures
