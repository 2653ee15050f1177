import subprocess
import sys


def test_publishing_compiles_no_grammar_and_hides_none():
    program = """
import sys
import hpa_lib.reports
assert "jsonschema" in sys.modules
assert "rfc3987_syntax" not in sys.modules
import rfc3987_syntax
assert rfc3987_syntax.is_valid_syntax
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
