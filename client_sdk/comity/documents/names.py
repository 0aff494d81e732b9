"""Names for people, as whoever composes one writes it: RFC 8266 over RFC 8264 (spec/act.md, ACT-17).

What a reader takes is in `words`: it asks for less, since a text that was accepted is read by everybody for ever, and
what Unicode knows grows.
"""

import unicodedata
from collections.abc import Mapping

from comity.errors import Malformed

_BLANK = "\u2800"
"""A braille cell without a dot, which the class of RFC 8264 lets pass as a symbol."""
_WHY = {
    "empty": "a name needs something to be seen",
    "controls": "a name has no control characters",
    "precis_ignorable_properties": "a name has a character that nobody sees",
    "zero_width_joiner": "a name has a character that nobody sees",
    "zero_width_nonjoiner": "a name has a character that nobody sees",
    "unassigned": "a name has a character that is not known here",
}


def nickname(text: str) -> str:
    """The name in its one spelling: NFKC, each run of spaces as one, none at the ends (RFC 8266, section 2.3, with the
    case preserved). Raises Malformed for what is no name, by the class FreeformClass of RFC 8264 and U+2800."""
    # Most programs read names, and few write any.
    from precis_i18n import get_profile

    try:
        name: str = get_profile("NicknameCasePreserved").enforce(text)
    except UnicodeEncodeError as fault:
        reason = fault.reason.rpartition("/")[2]
        raise Malformed(_WHY.get(reason, "a name has a character that no name may have")) from None
    if _BLANK in name:
        raise Malformed(_WHY["precis_ignorable_properties"])
    return name


def folded(name: str) -> str:
    """A name as names are compared (RFC 8266, section 2.4), empty for one without anything to be seen."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def check_names(names: Mapping[str, str | None]) -> None:
    """Raises Malformed unless each of these (JSON pointer → name) is in the spelling of `nickname`."""
    for pointer, name in names.items():
        try:
            fault = None if name is None or nickname(name) == name else "is not spelled as in RFC 8266"
        except Malformed as why:
            fault = why.detail
        if fault is not None:
            raise Malformed("a name that is none", errors=((pointer, fault),))
