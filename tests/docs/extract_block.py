"""extract_block.py PAGE LANGUAGE NUMBER: prints the NUMBER-th block of that language, from 1, as it stands."""
import pathlib
import sys

from blocks import blocks_of

page, language, number = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
chosen = [block for block in blocks_of(page) if block.language == language]
if not 1 <= number <= len(chosen):
    sys.exit(f"{page} has {len(chosen)} blocks of {language}")
print(chosen[number - 1].text, end="")
