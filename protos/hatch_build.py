"""Build hook of ferryman-protos: the stubs are generated before a wheel or a development install is made."""

import importlib.util
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class GenerateStubs(BuildHookInterface[Any]):
    """Runs `generate.py`, the same code as `make protos`."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        root = Path(self.root)
        spec = importlib.util.spec_from_file_location("ferryman_protos_generate", root / "generate.py")
        if spec is None or spec.loader is None:
            raise FileNotFoundError(f"cannot build ferryman-protos: {root / 'generate.py'} is missing")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.generate(root)
