"""What people do with the Python package kubernetes; fails at the first thing that is not as on a real cluster."""
import os
import threading

from kubernetes import client, config, dynamic, watch
from kubernetes.stream import portforward, stream

config.load_kube_config()
core, apps, ns = client.CoreV1Api(), client.AppsV1Api(), "default"


def refused(code, call):
    try:
        call()
    except client.ApiException as error:
        assert error.status == code, error
    else:
        raise AssertionError(f"not refused with {code}")


def objects():
    body = {"metadata": {"name": "py", "labels": {"py": "1"}}, "data": {"a": "b"}}
    core.create_namespaced_config_map(ns, body)
    refused(409, lambda: core.create_namespaced_config_map(ns, body))
    assert core.patch_namespaced_config_map("py", ns, {"data": {"c": "d"}}).data == {"a": "b", "c": "d"}
    operations = [{"op": "add", "path": "/data/e", "value": "f"}]
    assert core.patch_namespaced_config_map("py", ns, operations).data["e"] == "f"
    current = core.read_namespaced_config_map("py", ns)
    current.data = {"only": "this"}
    assert core.replace_namespaced_config_map("py", ns, current).data == {"only": "this"}
    refused(409, lambda: core.replace_namespaced_config_map("py", ns, current))
    first = core.list_config_map_for_all_namespaces(limit=2)
    rest = core.list_config_map_for_all_namespaces(limit=500, _continue=first.metadata._continue)
    assert len(rest.items) == first.metadata.remaining_item_count
    core.delete_collection_namespaced_config_map(ns, label_selector="py=1")
    refused(404, lambda: core.read_namespaced_config_map("py", ns))


def watches():
    start = core.list_namespaced_config_map(ns).metadata.resource_version

    def later():
        core.create_namespaced_config_map(ns, {"metadata": {"name": "seen"}})
        core.delete_namespaced_config_map("seen", ns)

    threading.Timer(0.1, later).start()
    seen, watcher = [], watch.Watch()
    for event in watcher.stream(core.list_namespaced_config_map, ns, resource_version=start, timeout_seconds=20):
        seen.append((event["type"], event["object"].metadata.name))
        if len(seen) == 2:
            watcher.stop()
    assert seen == [("ADDED", "seen"), ("DELETED", "seen")], seen
    # A watch ends when its time is over, and goes on from where another ended.
    again = watch.Watch().stream(core.list_namespaced_config_map, ns, resource_version=start, timeout_seconds=1)
    assert [event["type"] for event in again] == ["ADDED", "DELETED"]


def pods():
    container = {"name": "web", "image": "nginx", "ports": [{"containerPort": 80}]}
    core.create_namespaced_pod(ns, {"metadata": {"name": "pod"}, "spec": {"containers": [container]}})
    watcher = watch.Watch()
    for event in watcher.stream(core.list_namespaced_pod, ns, field_selector="metadata.name=pod", timeout_seconds=30):
        if event["object"].status.phase == "Running":
            watcher.stop()
    run = core.connect_get_namespaced_pod_exec
    options = {"stderr": True, "stdout": True, "tty": False}
    assert stream(run, "pod", ns, command=["hostname"], stdin=False, **options) == "pod\n"
    shell = stream(run, "pod", ns, command=["sh"], stdin=True, _preload_content=False, **options)
    shell.write_stdin("cd /tmp; pwd\nexit 4\n")
    shell.run_forever(timeout=20)
    assert shell.read_stdout() == "/tmp\n" and shell.returncode == 4
    forward = portforward(core.connect_get_namespaced_pod_portforward, "pod", ns, ports="80,81")
    web = forward.socket(80)
    web.settimeout(20)
    web.sendall(b"GET / HTTP/1.1\r\nHost: pod\r\n\r\n")
    assert web.recv(1000).startswith(b"HTTP/1.1 200 OK"), forward.error(80)
    forward.close()
    assert "start worker processes" in core.read_namespaced_pod_log("pod", ns)
    eviction = client.V1Eviction(metadata=client.V1ObjectMeta(name="pod"))
    core.create_namespaced_pod_eviction("pod", ns, eviction)


def dynamically():
    api = dynamic.DynamicClient(client.ApiClient())
    deployments = api.resources.get(api_version="apps/v1", kind="Deployment")
    labels = {"app": "py"}
    body = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "py", "namespace": ns},
        "spec": {"selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}}},
    }
    made = deployments.server_side_apply(body=body, name="py", namespace=ns, field_manager="py")
    assert made.metadata.managedFields[0].manager == "py"
    assert apps.patch_namespaced_deployment_scale("py", ns, {"spec": {"replicas": 2}}).spec.replicas == 2
    deployments.delete(name="py", namespace=ns)


def identities():
    spec = client.V1TokenRequestSpec(audiences=[], expiration_seconds=600)
    request = client.AuthenticationV1TokenRequest(spec=spec)
    token = core.create_namespaced_service_account_token("default", ns, request).status.token
    settings = client.Configuration.get_default_copy()
    settings.cert_file = settings.key_file = None
    settings.api_key = {"authorization": "Bearer " + token}
    other = client.ApiClient(settings)
    review = client.AuthenticationV1Api(other).create_self_subject_review(client.V1SelfSubjectReview())
    assert review.status.user_info.username == "system:serviceaccount:default:default"
    refused(403, lambda: client.CoreV1Api(other).list_namespaced_secret(ns))
    asked = client.V1TokenReview(spec=client.V1TokenReviewSpec(token=token))
    assert client.AuthenticationV1Api().create_token_review(asked).status.authenticated


def leadership():
    from kubernetes.leaderelection import electionconfig, leaderelection
    from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock

    leads = threading.Event()
    lock = LeaseLock("leader", ns, "me")
    settings = electionconfig.Config(lock, lease_duration=5, renew_deadline=3, retry_period=1,
                                     onstarted_leading=leads.set, onstopped_leading=None)
    threading.Thread(target=leaderelection.LeaderElection(settings).run, daemon=True).start()
    assert leads.wait(20)
    assert client.CoordinationV1Api().read_namespaced_lease("leader", ns).spec.holder_identity == "me"


for part in (objects, watches, pods, dynamically, identities, leadership):
    part()
    print(part.__name__, flush=True)
print("done", flush=True)
# The thread that leads still asks; an interpreter that is taken down around it may crash.
os._exit(0)
