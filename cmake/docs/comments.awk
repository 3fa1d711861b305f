# What Doxygen reads of a header. The plain comment at its top becomes the file's documentation. A comment
# stands for all names that follow it without an empty line or another comment between: they become a
# group, to which Doxygen gives the comment of its first. In a C header plain comments count as well.
function flush_group(   i, names) {
  # A class or a struct that opens here has members of its own.
  names = 0
  for (i = documented + 1; i <= held; ++i) names += line[i] ~ /[;}]( *\/\/.*|  *\/\*.*)?$/
  if (names > 1 && !opens) print "/// @{"
  for (i = 1; i <= held; ++i) print line[i]
  if (names > 1 && !opens) print "/// @}"
  held = documented = opens = 0
}
FNR == 1 {
  header = FILENAME ~ /\.hpp$/
  c_header = FILENAME ~ /\.h$/
  top = header && /^\/\/ /
  if (top) print "/// @file"
}
!header && !c_header { print; next }
# Of friends Doxygen lists links to places that it does not make.
/^ *friend / { friend = 1 }
friend { if (/[;}] *$/) friend = 0; next }
top && /^\/\// { sub(/^\/\//, "///"); print; next }
{ top = 0 }
c_header && FNR == 1 && /^\/\* / { sub(/^\/\* /, "/** @file\n * "); print; next }
c_header && /^ *\/\* / { sub(/\/\* /, "/** ") }
c_header && /^[^\/]*[,;0-9] +\/\* / { sub(/\/\* /, "/**< ") }
{
  starts = header ? /^ *\/\/\/ / || /^ *\/\/\/$/ : /^ *\/\*\* /
  in_block = in_block || (c_header && starts)
  comment = starts || in_block
  if (in_block && /\*\/ *$/) in_block = 0
  if (comment) {
    if (held > documented) flush_group()
    line[++held] = $0
    documented = held
  } else if (held > 0 && !/^ *$/ && !/^ *(private|public|protected):/ && !/^ *}/ && !/^#/) {
    line[++held] = $0
    if (/^ *(template.*)?(class|struct|union|enum|namespace|extern)[^;]*{ *(\/\/.*)?$/ || /^[^;(]*{ *$/) opens = 1
  } else {
    if (held > 0) flush_group()
    print
  }
}
END { if (held > 0) flush_group() }
