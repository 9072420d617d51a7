from ovsdriver.metrics import CONTENT_TYPE, Metrics


def test_calls_are_counted_by_method_and_outcome():
    metrics = Metrics()
    metrics.answered("NetworkDriver.Join", "ok", 0.004)
    metrics.answered("NetworkDriver.Join", "ok", 0.03)
    metrics.answered("NetworkDriver.Join", "failed", 5.0)
    text = metrics.render().decode()
    assert 'ovsnet_calls_total{method="NetworkDriver.Join",outcome="ok"} 2.0' in text
    assert 'ovsnet_calls_total{method="NetworkDriver.Join",outcome="failed"} 1.0' in text
    assert 'ovsnet_call_duration_seconds_bucket{le="0.005",method="NetworkDriver.Join"} 1.0' in text
    assert 'ovsnet_call_duration_seconds_count{method="NetworkDriver.Join"} 3.0' in text


def test_two_processes_in_one_interpreter_count_apart():
    first, second = Metrics(), Metrics()
    first.answered("X", "ok", 0.1)
    assert 'method="X"' not in second.render().decode()


def test_the_format_is_prometheus_text():
    assert CONTENT_TYPE.startswith("text/plain")
