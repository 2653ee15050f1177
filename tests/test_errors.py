import pickle

from hpa_lib.errors import HpaError


def test_message_holds_problem_and_remedy():
    error = HpaError("Parameter epochs received 'many'.", "Give a whole number.")
    assert str(error) == "Parameter epochs received 'many'. Give a whole number."


def test_notebooks_show_two_lines_instead_of_a_traceback():
    error = HpaError("A is wrong.", "Mend A.")
    assert error._render_traceback_() == ["HpaError: A is wrong.", "What to do: Mend A."]


def test_crosses_process_borders():
    error = pickle.loads(pickle.dumps(HpaError("A is wrong.", "Mend A.")))
    assert (error.problem, error.remedy) == ("A is wrong.", "Mend A.")
