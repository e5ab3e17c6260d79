"""`completion`: a script for bash and zsh that completes commands, options, recipes, profiles and stages.

    eval "$(reasoning-pipeline completion)"      # in ~/.bashrc; in ~/.zshrc after `autoload bashcompinit; bashcompinit`

It is generated from the parsers themselves and holds all words, so that completing starts no Python.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from reasoning_pipeline.commands import COMMANDS

SCRIPT = """\
{function}() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" words
  case "$before" in
{values}
  esac
  if [ "$COMP_CWORD" -eq 1 ]; then
    words="{commands}"
  else
    case "${{COMP_WORDS[1]}}" in
{options}
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$word") $(compgen -f -- "$word"))
}}
complete -o filenames -o bashdefault -F {function} {program}
"""


def add(commands: argparse._SubParsersAction) -> None:
    text = COMMANDS["completion"].text
    parser = commands.add_parser("completion", help=text, description=text)
    parser.set_defaults(command=_completion)


def _completion(arguments: argparse.Namespace) -> int:
    parsers = argparse.ArgumentParser().add_subparsers()
    for file in dict.fromkeys(command.file for command in COMMANDS.values()):
        import_module(f"reasoning_pipeline.commands.{file}").add(parsers)
    print(script("reasoning-pipeline", parsers.choices), end="")
    return 0


def script(program: str, parsers: Mapping[str, Any]) -> str:
    """The script for a program with these commands."""
    from reasoning_pipeline.hardware.profile import PROFILES_FOLDER
    from reasoning_pipeline.recipe.shipped import recipe_names
    from reasoning_pipeline.recipe.workflows import stage_kinds

    profiles = sorted(path.stem for path in PROFILES_FOLDER.glob("*.yaml"))
    places = {"recipe": recipe_names(), "recipes": recipe_names(), "name": recipe_names(), "kind": [*stage_kinds()]}
    values = {"--hardware": profiles, "--seeds": ["all"]}
    options = {name: _words(parser, places) for name, parser in parsers.items()}
    function = "_" + program.replace("-", "_")
    rest = '$(compgen -f -- "$word")'
    return SCRIPT.format(
        function=function,
        program=program,
        commands=" ".join(parsers),
        values="\n".join(
            f'    {name}) COMPREPLY=($(compgen -W "{" ".join(known)}" -- "$word") {rest}); return ;;'
            for name, known in values.items()
        ),
        options="\n".join(f'      {name}) words="{" ".join(words)}" ;;' for name, words in options.items()),
    )


def _words(parser: argparse.ArgumentParser, places: Mapping[str, list[str]]) -> list[str]:
    found = [option for action in parser._actions for option in action.option_strings if option.startswith("--")]
    for action in parser._actions:
        if not action.option_strings:
            found += [*map(str, action.choices)] if action.choices else places.get(action.dest, [])
    return found
