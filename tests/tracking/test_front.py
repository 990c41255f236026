from study.tracking.front import opening_at

PAGE = "<!doctype html><html><head><script defer src=main.js></script></head><body></head></body></html>"


def test_the_page_goes_to_the_view_once_and_before_its_own_scripts_run():
    page = opening_at(PAGE, "#/experiments/1/runs?view=a")

    script = '<script>if (!location.hash) location.replace("#/experiments/1/runs?view=a")</script>'
    assert page == PAGE.replace("</script></head>", f"</script>{script}</head>")


def test_a_fragment_cannot_end_the_script():
    page = opening_at(PAGE, '#/"</script><b>')

    assert "</script><b>" not in page
    assert "\\u003c/script>" in page


def test_a_page_of_another_shape_is_left_alone():
    assert opening_at("<html>", "#/a") == "<html>"
