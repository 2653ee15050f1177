from hpa_lib import front_end


def test_someone_looks_on_only_where_a_front_end_names_the_cell(execute):
    assert not front_end.someone_looks_on()  # no kernel at all
    code = "from hpa_lib import front_end\nprint(front_end.someone_looks_on())"
    for metadata, wanted in (({}, "False\n"), ({"cellId": "training"}, "True\n")):
        printed = [
            message["content"]["text"]
            for message in execute(code, **metadata)
            if message["msg_type"] == "stream" and message["content"]["name"] == "stdout"
        ]
        assert printed == [wanted]
