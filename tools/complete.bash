# What does not depend on the tables above.  bash cuts words at colons and equals
# signs, which are part of -b:a and --step=2: they are put together again, and
# what bash takes as typed already is cut off the answers.

_tessera_files() # WORD ENDINGS: folders, and files with these endings
{
    local ending
    compgen -d -- "$1"
    [ -n "$2" ] || compgen -f -- "$1"
    for ending in $2; do compgen -f -X "!*.$ending" -- "$1"; done
}

_tessera_models() # PROGRAM WORD: names of models, or a file
{
    compgen -W "$("$1" models 2> /dev/null | awk 'NR > 1 { print $1 }')" -- "$2"
    _tessera_files "$2" safetensors
}

_tessera_join() # COMP_WORDS up to the cursor into words
{
    local i n=-1 glue=
    words=()
    for ((i = 0; i <= COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        [:=]*) words[n]+=${COMP_WORDS[i]} glue=yes ;;
        *)  [ -n "$glue" ] || n=$((n + 1))
            words[n]+=${COMP_WORDS[i]} glue= ;;
        esac
    done
}

_tessera_answers() # PLACE COMMAND LAST WORD
{
    local value='' words=''
    case $1:$2 in
    1:-*) compgen -W "$(_tessera_options encode) help version" -- "$4"; return ;;
    1:*) compgen -W "$_tessera_commands help version" -- "$4"; return ;;
    2:help) compgen -W "$_tessera_commands" -- "$4"; return ;;
    *:-*) set -- "$1" encode "$3" "$4" ;; # as ffmpeg
    esac
    case $3 in -?*) value=$(_tessera_value "$2" "${3##-}") ;; esac
    case $value,$4 in
    FILE,*) _tessera_files "$4" ;;
    MODEL,*) _tessera_models "$program" "$4" ;;
    ,-*) compgen -W "$(_tessera_options "$2")" -- "$4" ;;
    ,*) [ "$1" != 2 ] || words=$(_tessera_verbs "$2")
        [ -z "$words" ] || compgen -W "$words" -- "$4"
        _tessera_files "$4" "$(_tessera_endings "$2")" ;;
    *)  compgen -W "${value//|/ }" -- "$4" ;;
    esac
}

_tessera()
{
    local words last word program=$1
    _tessera_join
    word=${words[${#words[@]} - 1]} last=${words[${#words[@]} - 2]}
    case $word in -*=*) last=${word%%=*} word=${word#*=} ;; esac
    mapfile -t COMPREPLY < <(_tessera_answers $((${#words[@]} - 1)) \
        "${words[1]}" "${last/#--/-}" "$word")
    case $COMP_WORDBREAKS,$word in
    *:*,*:*) COMPREPLY=("${COMPREPLY[@]#"${word%:*}:"}") ;;
    esac
    compopt -o filenames 2> /dev/null
}
complete -F _tessera tessera
