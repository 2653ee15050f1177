"""Import nbconvert in a third of its time.

nbconvert brings jsonschema along, which imports rfc3987_syntax if it is there, and that compiles
a grammar of internationalized addresses each time: more than a second, twice what all the rest
takes. Notebooks hold no such addresses, and jsonschema does without it where it is missing. So it
is hidden for as long as the import takes:

    from hpa_lib.nbconvert_shim import nbconvert
"""

import sys

_GRAMMAR = "rfc3987_syntax"

_hidden = sys.modules.setdefault(_GRAMMAR, None) is None
try:
    import nbconvert
finally:
    if _hidden:
        del sys.modules[_GRAMMAR]

__all__ = ["nbconvert"]
