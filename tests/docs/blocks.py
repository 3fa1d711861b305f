"""The fenced blocks of a Markdown page."""
import re


class Block:
    def __init__(self, page, number, language, text):
        self.page, self.number, self.language, self.text = page, number, language, text

    def __str__(self):
        return f"{self.page}, line {self.number}"


def blocks_of(page):
    """All of them, in order; one that is not closed is an error."""
    found, language, begin, lines = [], None, 0, []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        fence = re.fullmatch(r" *```(\w*).*", line)
        if not fence:
            lines.append(line)
        elif language is None:
            language, begin, lines = fence[1], number, []
        else:
            found.append(Block(page, begin, language, "\n".join(lines) + "\n"))
            language = None
    if language is not None:
        raise SystemExit(f"{page}, line {begin}: the block is not closed")
    return found
