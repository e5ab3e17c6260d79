"""`schema`: a JSON schema, for editors."""

from __future__ import annotations

import argparse

from reasoning_pipeline.commands.options import command

WHAT = ("recipe", "profile", "suite")


def add(commands: argparse._SubParsersAction) -> None:
    schema = command(commands, "schema", _schema)
    schema.add_argument("what", nargs="?", choices=WHAT, default="recipe", help="which kind of file (default: recipe)")


def _schema(arguments: argparse.Namespace) -> int:
    import json

    from reasoning_pipeline.data.suites.spec import SuiteSpec
    from reasoning_pipeline.hardware.profile import HardwareProfile
    from reasoning_pipeline.recipe.schema import recipe_schema, schema_of

    if arguments.what == "recipe":
        found = recipe_schema()
    elif arguments.what == "profile":
        found = schema_of(HardwareProfile, "A hardware profile")
    else:
        found = schema_of(SuiteSpec, "A suite")
    print(json.dumps(found, indent=2, ensure_ascii=False))
    return 0
