# Completes `python -m study` in bash: groups, options and launchers.
_study() {
  [[ $COMP_LINE == *"-m study "* ]] || return 0
  local line=${COMP_LINE#*-m study} word=${COMP_WORDS[COMP_CWORD]}
  COMPREPLY=($(compgen -W "$(COMP_LINE="study$line" COMP_POINT=$((${#line} + 5)) python -m study -sc query=bash)" -- "$word"))
}
complete -o nospace -o default -F _study python
COMP_WORDBREAKS=${COMP_WORDBREAKS//=}
