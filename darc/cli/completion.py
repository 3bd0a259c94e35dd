"""``darc completion``: a script for completion in the shell.

The script contains all words at the time it is printed: pressing TAB does not start Python, which
would take a tenth of a second each time (and for host names the reading of the configuration).
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence

from darc.cli.attribute_names import attributes, attributes_of_others
from darc.cli.darc_parser import TERMINAL
from darc.cli.darc_parser import make_parser as make_plain_parser
from darc.cli.interactive import load, module_of, word_parser
from darc.cli.log_sources import SUPERVISORD
from darc.config.config import Config, ConfigError
from darc.config.records import Struct
from darc.master.master_attributes import NAMES
from darc.model.vocabulary import COMMANDS
from darc.node.process_names import MASTER, MONITOR

SHELLS = ("bash", "zsh", "fish")
#: Valid host names; other text from a configuration must not reach the shell.
_PLAIN = re.compile(r"[\w.:-]+", re.ASCII)
EXAMPLES = """\
It knows services and hosts as they are configured now: print it again when these change.

examples:
  darc completion bash > ~/.local/share/bash-completion/completions/darc
  source <(darc completion bash)         for this shell alone
  darc completion zsh > ~/.zfunc/_darc   with fpath+=~/.zfunc before compinit in ~/.zshrc
  darc completion fish > ~/.config/fish/completions/darc.fish
"""


def make_parser() -> argparse.ArgumentParser:
    parser = word_parser(
        "completion",
        "Print a script by which your shell completes commands, options, services and hosts.",
        EXAMPLES,
    )
    parser.add_argument("shell", choices=SHELLS)
    return parser


def main(arguments: Sequence[str]) -> int:
    """Print the script; return the exit status."""
    options = make_parser().parse_args(arguments)
    try:
        config: Config | None = load()
    except (ConfigError, OSError) as error:
        print(f"darc: neither services nor hosts, as {error}", file=sys.stderr)
        config = None
    words = Completions.of(config)
    print({"bash": bash, "zsh": zsh, "fish": fish}[options.shell](words), end="")
    return 0


class Completions(Struct, frozen=True):
    """Words that can be completed.

    :param commands: commands with their descriptions
    :param options: options by command; those of plain commands under an empty name
    :param arguments: arguments by command
    :param values: values of options, if known
    :param attributes: attributes by service; those of darc_master under an empty name
    """

    commands: Mapping[str, str]
    options: Mapping[str, tuple[str, ...]]
    arguments: Mapping[str, tuple[str, ...]]
    values: Mapping[str, tuple[str, ...]]
    attributes: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, config: Config | None) -> Completions:
        services = tuple(filter(_PLAIN.fullmatch, config.services() if config else ()))
        nodes = filter(_PLAIN.fullmatch, config.nodes() if config else ())
        options = {"": _options(make_plain_parser())}
        for word in TERMINAL:
            options[word] = _options(module_of(word).make_parser())
        return cls(
            {**COMMANDS, **TERMINAL},
            options,
            {"logs": (*services, MASTER, MONITOR, SUPERVISORD, "all"), "completion": SHELLS},
            {
                "--service": (*services, "all"),
                "--host": ("localhost", "all", *nodes),
                "--since": ("1m", "10m", "1h", "1d"),
            },
            _attributes(services),
        )


def _attributes(services: Sequence[str]) -> dict[str, tuple[str, ...]]:
    known = attributes()
    found = {name: known.get(name, attributes_of_others()) for name in services or known}
    of_any = dict.fromkeys(
        one for some in (attributes_of_others(), *found.values()) for one in some
    )
    return {"": NAMES, "all": tuple(of_any), **found}


def _options(parser: argparse.ArgumentParser) -> tuple[str, ...]:
    """Return the options that --help shows."""
    shown = [one for one in parser._actions if one.help is not argparse.SUPPRESS]
    return tuple(text for one in shown for text in one.option_strings)


#: Options whose value is a file, or arbitrary text.
FILES, FREE = ("--parset", "--config"), ("--timeout", "--port", "--key", "--grep", "-n", "--lines")

_BASH = """\
# Made by `darc completion bash`: what is configured changes it, so print it again then.
_darc() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}}
    local word command= service= skip= words=
    COMPREPLY=()
    case $previous in
{values}
        {files}) mapfile -t COMPREPLY < <(compgen -f -- "$current")
            compopt -o filenames 2>/dev/null; return 0 ;;
        {free}) return ;;
    esac
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        if [ "$skip" = --service ]; then service=$word; fi
        if [ -n "$skip" ]; then skip=; continue; fi
        case $word in
            {with_value}) skip=$word ;;
            -*) ;;
            *) command=${{command:-$word}} ;;
        esac
    done
    if [ "$command" = get_attr ]; then
        case $service in
{attributes}
        esac
    fi
    case $command in
        get_attr) words+=' '{plain} ;;
{cases}
        *) words={plain} ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -F _darc darc
"""


def _joined(words: Iterable[str]) -> str:
    """Return words as one quoted word, which compgen splits again."""
    return shlex.quote(" ".join(words))


def bash(words: Completions) -> str:
    """Return the script for bash 4 and newer."""
    cases = []
    for command in sorted({*words.options, *words.arguments} - {""}):
        known = [*words.arguments.get(command, ()), *words.options.get(command, words.options[""])]
        cases.append(f"        {command}) words={_joined(known)} ;;")
    cases.append(f"        '') words={_joined([*words.commands, *words.options['']])} ;;")
    return _filled(_BASH, words, cases, _joined(words.options[""]), _compgen, _set_words)


def _compgen(known: Iterable[str]) -> str:
    return f'COMPREPLY=($(compgen -W {_joined(known)} -- "$current"))'


def _set_words(known: Iterable[str]) -> str:
    return f"words={_joined(known)}"


def _compadd(known: Iterable[str]) -> str:
    return f"compadd -- {shlex.join(known)}"


def _filled(
    script: str,
    words: Completions,
    cases: Sequence[str],
    plain: str,
    offer: Callable[[Iterable[str]], str],
    offer_attributes: Callable[[Iterable[str]], str],
) -> str:
    """Fill a script in.

    :param cases: lines of its ``case`` of commands
    :param plain: options of plain commands
    :param offer: returns the shell's command that completes an option's value
    :param offer_attributes: likewise for attributes
    """
    empty = "''"  # a pattern of the shell
    return script.format(
        values="\n".join(
            f"        {option}) {offer(known)}; return ;;" for option, known in words.values.items()
        ),
        files="|".join(FILES),
        free="|".join(FREE),
        with_value="|".join((*words.values, *FILES, *FREE)),
        cases="\n".join(cases),
        attributes="\n".join(
            f"            {service or empty}) {offer_attributes(known)} ;;"
            for service, known in words.attributes.items()
        ),
        plain=plain,
    )


_ZSH = """\
#compdef darc
# Made by `darc completion zsh`: what is configured changes it, so print it again then.
_darc() {{
    local word command= service= skip=
    case ${{words[CURRENT-1]}} in
{values}
        {files}) _files; return ;;
        {free}) return ;;
    esac
    for word in ${{words[2,CURRENT-1]}}; do
        if [[ $skip == --service ]]; then service=$word; fi
        if [[ -n $skip ]]; then skip=; continue; fi
        case $word in
            {with_value}) skip=$word ;;
            -*) ;;
            *) command=${{command:-$word}} ;;
        esac
    done
    if [[ $command == get_attr ]]; then
        case $service in
{attributes}
        esac
    fi
    # Options are offered once one is begun: else the first of them comes before all commands.
    case $command in
{cases}
        *) if [[ $PREFIX == -* ]]; then compadd -- {plain}; fi ;;
    esac
}}
if [[ ${{funcstack[1]}} == _darc ]]; then _darc "$@"; else compdef _darc darc; fi
"""


def zsh(words: Completions) -> str:
    """Return the script for zsh with its completion system."""
    cases = []
    for command in sorted({*words.options, *words.arguments} - {""}):
        cases.append(f"        {command})")
        if arguments := words.arguments.get(command):
            cases.append(f"            {_compadd(arguments)}")
        options = shlex.join(words.options.get(command, words.options[""]))
        cases.append(f"            if [[ $PREFIX == -* ]]; then compadd -- {options}; fi ;;")
    plain = shlex.join(words.options[""])
    described = shlex.join(f"{name}:{text}" for name, text in words.commands.items())
    cases += [
        "        '')",
        f"            local -a commands=({described})",
        "            _describe command commands",
        f"            if [[ $PREFIX == -* ]]; then compadd -- {plain}; fi ;;",
    ]
    return _filled(_ZSH, words, cases, plain, _compadd, _compadd)


def fish(words: Completions) -> str:
    """Return the script for fish."""
    lines = [
        "# Made by `darc completion fish`: what is configured changes it, so print it again then.",
        "complete -c darc -f",
    ]
    all_commands = " ".join(words.commands)
    for name, text in words.commands.items():
        condition = f"not __fish_seen_subcommand_from {all_commands}"
        lines.append(f"complete -c darc -n {_fish(condition)} -a {_fish(name)} -d {_fish(text)}")
    for command, known in words.arguments.items():
        condition = f"__fish_seen_subcommand_from {command}"
        lines.append(f"complete -c darc -n {_fish(condition)} -a {_fish(' '.join(known))}")
    asks = "__fish_seen_subcommand_from get_attr"
    for service, known in words.attributes.items():
        typed = "(commandline -opc | string join ' ')"
        named = f"string match -qr -- '--service[ =]{service}( |$)' {typed}"
        no_one = f"not string match -q -- '*--service*' {typed}"
        condition = f"{asks}; and {named if service else no_one}"
        lines.append(f"complete -c darc -n {_fish(condition)} -a {_fish(' '.join(known))}")
    own = " ".join(TERMINAL)
    for command, options in words.options.items():
        condition = f"__fish_seen_subcommand_from {command}" if command else ""
        condition = condition or f"not __fish_seen_subcommand_from {own}"
        lines += [_fish_option(condition, option, words) for option in options]
    return "\n".join(lines) + "\n"


def _fish_option(condition: str, option: str, words: Completions) -> str:
    kind = "-l" if option.startswith("--") else "-s"
    line = f"complete -c darc -n {_fish(condition)} {kind} {_fish(option.lstrip('-'))}"
    if option in words.values:
        return f"{line} -x -a {_fish(' '.join(words.values[option]))}"
    if option in FILES:
        return f"{line} -r -F"
    return f"{line} -x" if option in FREE else line


def _fish(text: str) -> str:
    """Quote text for fish, where backslash is special within single quotes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
