# Completes `python -m study` and `study` in bash: groups, options and launchers.
_study() {
  local word=${COMP_WORDS[COMP_CWORD]} program=("${COMP_WORDS[0]}") line=${COMP_LINE#"${COMP_WORDS[0]}"}
  if [[ ${program##*/} != study ]]; then
    [[ $line == " -m study "* ]] || return 0
    program+=(-m study) line=${line#" -m study"}
  fi
  COMPREPLY=($(compgen -W "$(COMP_LINE="study$line" COMP_POINT=$((${#line} + 5)) "${program[@]}" -sc query=bash)" -- "$word"))
}
for program in python python3 study; do  # a completion that you have already stays
  complete -p "$program" &>/dev/null || complete -o nospace -o default -F _study "$program"
done
unset program
COMP_WORDBREAKS=${COMP_WORDBREAKS//=}
