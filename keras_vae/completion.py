"""A completion script with every choice in it.

Click's own completion starts the program at each key press, and this program imports
TensorFlow: seconds. The choices change only with the version, so they are written out.
"""

import click

TEMPLATE = """\
_{function}() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}"
    case "${{COMP_WORDS[1]}} $previous" in
{choices}
    esac
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "{commands}" -- "$word"))
        return
    fi
    case "${{COMP_WORDS[1]}}" in
{options}
    esac
    case "$word" in -*) ;; *) COMPREPLY=($(compgen -f -- "$word")) ;; esac
}}
complete -o filenames -F _{function} {program}"""


def bash_completion(group: click.Group, program: str) -> str:
    """The script for bash (and zsh's bashcompinit) that completes `program`."""
    choices, options = [], []
    for command in group.commands.values():
        named = [p for p in command.params if isinstance(p, click.Option)]
        words = " ".join(
            name for option in named for name in (*option.opts, *option.secondary_opts)
        )
        options.append(_case(str(command.name), f"--help {words}"))
        context = click.Context(command)
        for option in named:
            items = option.type.shell_complete(context, option, "")
            words = " ".join(item.value for item in items if item.type == "plain")
            choices += [_case(f"{command.name} {name}", words) for name in option.opts if words]
    return TEMPLATE.format(
        function=program.replace("-", "_"),
        program=program,
        commands=" ".join(group.commands),
        choices="\n".join(choices),
        options="\n".join(options),
    )


def _case(pattern: str, words: str) -> str:
    reply = f'COMPREPLY=($(compgen -W "{words}" -- "$word"))'
    return f'    "{pattern}") {reply}; [ ${{#COMPREPLY[@]}} -gt 0 ] && return ;;'
