"""What people do with the Python client, against one cluster: python program.py CONTEXT [CHECK…]; KUBECONFIG names the file."""

import asyncio
import datetime
import io
import os
import sys
import tempfile
import threading
import uuid

from checks import check, equal, eventually, refused, run_all
from kubernetes import client, config, dynamic, informer, utils, watch
from kubernetes import aio
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.configmaplock import ConfigMapLock
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock
from kubernetes.stream import portforward, stream

context = sys.argv[1]
config.load_kube_config(context=context)
core = client.CoreV1Api()
apps = client.AppsV1Api()
custom = client.CustomObjectsApi()
definitions = client.ApiextensionsV1Api()
NS = f"python-{uuid.uuid4().hex[:6]}"
core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=NS)))


def config_map(name, labels=None, **data):
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels=labels), data=data)


def deployment(name, replicas=1):
    container = client.V1Container(
        name="main",
        image="node",
        command=["node", "-e", "setInterval(()=>{},1000)"],
        resources=client.V1ResourceRequirements(requests={"cpu": "10m", "memory": "16Mi"}),
    )
    template = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels={"app": name}),
        spec=client.V1PodSpec(containers=[container], termination_grace_period_seconds=0),
    )
    selector = client.V1LabelSelector(match_labels={"app": name})
    spec = client.V1DeploymentSpec(replicas=replicas, selector=selector, template=template)
    return client.V1Deployment(metadata=client.V1ObjectMeta(name=name), spec=spec)


@check
def version_and_discovery():
    version = client.VersionApi().get_code()
    equal((version.major, version.minor), ("1", "34"))
    groups = {group.name for group in client.ApisApi().get_api_versions().groups}
    assert {"apps", "batch", "rbac.authorization.k8s.io", "coordination.k8s.io"} <= groups, groups
    names = {resource.name for resource in apps.get_api_resources().resources}
    assert {"deployments", "deployments/scale", "deployments/status"} <= names, names
    assert "v1" in client.CoreApi().get_api_versions().versions


@check
def typed_objects():
    made = core.create_namespaced_config_map(NS, config_map("one", {"app": "a"}, x="1"), field_manager="typed")
    assert isinstance(made.metadata.creation_timestamp, datetime.datetime)
    equal(made.metadata.managed_fields[0].manager, "typed")
    equal(refused(409, core.create_namespaced_config_map, NS, config_map("one"))["reason"], "AlreadyExists")
    equal(refused(404, core.read_namespaced_config_map, "two", NS)["message"], 'configmaps "two" not found')
    equal(refused(422, core.create_namespaced_config_map, NS, config_map("No_Name"))["reason"], "Invalid")
    dry = core.create_namespaced_config_map(NS, config_map("dry"), dry_run="All")
    assert dry.metadata.uid
    refused(404, core.read_namespaced_config_map, "dry", NS)
    named = core.create_namespaced_config_map(NS, client.V1ConfigMap(metadata=client.V1ObjectMeta(generate_name="g-")))
    assert named.metadata.name.startswith("g-")
    made.data["x"] = "2"
    newer = core.replace_namespaced_config_map("one", NS, made)
    assert newer.metadata.resource_version != made.metadata.resource_version
    equal(refused(409, core.replace_namespaced_config_map, "one", NS, made)["reason"], "Conflict")
    core.delete_namespaced_config_map("one", NS, body=client.V1DeleteOptions(propagation_policy="Background"))
    refused(404, core.read_namespaced_config_map, "one", NS)


@check
def lists():
    for number in range(7):
        core.create_namespaced_config_map(NS, config_map(f"list-{number}", {"parity": "odd" if number % 2 else "even"}))
    names, token = [], ""
    while token is not None:
        page = core.list_namespaced_config_map(NS, limit=2, label_selector="parity", _continue=token)
        names += [item.metadata.name for item in page.items]
        token = page.metadata._continue
    equal(names, [f"list-{number}" for number in range(7)])
    odd = core.list_namespaced_config_map(NS, label_selector="parity in (odd)")
    equal(len(odd.items), 3)
    one = core.list_namespaced_config_map(NS, field_selector="metadata.name=list-3")
    equal([item.metadata.name for item in one.items], ["list-3"])
    core.delete_collection_namespaced_config_map(NS, label_selector="parity=odd")
    equal(len(core.list_namespaced_config_map(NS, label_selector="parity").items), 4)
    equal(refused(400, core.list_namespaced_config_map, NS, field_selector="spec.what=1")["reason"], "BadRequest")


@check
def every_list_can_be_read():
    """Each typed list call of the stable groups parses what the server says. Not events.k8s.io: the client refuses the null in
    eventTime that every server says of events that were made in the core group."""
    for api in (
        core, apps, client.BatchV1Api(), client.RbacAuthorizationV1Api(), client.CoordinationV1Api(), client.DiscoveryV1Api(),
        client.NetworkingV1Api(), client.StorageV1Api(), client.PolicyV1Api(), client.AutoscalingV2Api(), client.SchedulingV1Api(),
        client.AdmissionregistrationV1Api(), client.NodeV1Api(), definitions,
    ):
        offered = {resource.name for resource in api.get_api_resources().resources}
        calls = [name for name in dir(api) if name.startswith("list_") and not name.endswith("_with_http_info")]
        assert calls, type(api)
        for name in calls:
            arguments = [NS] if name.startswith("list_namespaced_") else []
            try:
                getattr(api, name)(*arguments)
            except client.exceptions.ApiException as error:
                # A kind newer than the server.
                noun = name.removeprefix("list_").removeprefix("namespaced_").removesuffix("_for_all_namespaces").replace("_", "")
                assert error.status == 404 and not any(kind.startswith(noun) for kind in offered), (name, error.status)


@check
def patches():
    core.create_namespaced_config_map(NS, config_map("patched", a="1", b="2"))
    core.patch_namespaced_config_map("patched", NS, [{"op": "replace", "path": "/data/a", "value": "9"}])
    core.patch_namespaced_config_map("patched", NS, {"data": {"b": None, "c": "3"}})
    equal(core.read_namespaced_config_map("patched", NS).data, {"a": "9", "c": "3"})
    refused(422, core.patch_namespaced_config_map, "patched", NS, [{"op": "test", "path": "/data/a", "value": "8"}])
    apps.create_namespaced_deployment(NS, deployment("patched", 0))
    sidecar = {"spec": {"template": {"spec": {"containers": [{"name": "second", "image": "node"}]}}}}
    strategic = apps.patch_namespaced_deployment("patched", NS, sidecar, _content_type="application/strategic-merge-patch+json")
    equal({container.name for container in strategic.spec.template.spec.containers}, {"main", "second"})
    merged = apps.patch_namespaced_deployment("patched", NS, sidecar, _content_type="application/merge-patch+json")
    equal([container.name for container in merged.spec.template.spec.containers], ["second"])


@check
def apply():
    def give(manager, value, force=None):
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"}, "data": {"k": value}}
        return core.patch_namespaced_config_map(
            "applied", NS, body, field_manager=manager, force=force, _content_type="application/apply-patch+yaml"
        )

    equal(give("first", "1").metadata.managed_fields[0].operation, "Apply")
    conflict = refused(409, give, "second", "2")
    equal(conflict["details"]["causes"][0]["field"], ".data.k")
    assert 'conflict with "first"' in conflict["message"], conflict["message"]
    equal(give("second", "2", force=True).data, {"k": "2"})


@check
def subresources():
    apps.create_namespaced_deployment(NS, deployment("scaled", 0))
    scale = apps.read_namespaced_deployment_scale("scaled", NS)
    equal((scale.spec.replicas, scale.status.selector), (None, "app=scaled"))

    def grow():
        scale = apps.read_namespaced_deployment_scale("scaled", NS)
        scale.spec.replicas = 2
        return apps.replace_namespaced_deployment_scale("scaled", NS, scale)

    equal(utils.retry_on_conflict(grow).spec.replicas, 2)
    apps.patch_namespaced_deployment_scale("scaled", NS, {"spec": {"replicas": 0}})
    status = apps.patch_namespaced_deployment_status("scaled", NS, {"status": {"observedGeneration": 1}})
    equal(status.spec.replicas, 0)
    core.create_namespaced_service_account(NS, client.V1ServiceAccount(metadata=client.V1ObjectMeta(name="robot")))
    request = client.AuthenticationV1TokenRequest(spec=client.V1TokenRequestSpec(audiences=[], expiration_seconds=600))
    token = core.create_namespaced_service_account_token("robot", NS, request).status.token
    review = client.V1TokenReview(spec=client.V1TokenReviewSpec(token=token))
    user = client.AuthenticationV1Api().create_token_review(review).status
    equal((user.authenticated, user.user.username), (True, f"system:serviceaccount:{NS}:robot"))
    may = client.V1SelfSubjectAccessReview(
        spec=client.V1SelfSubjectAccessReviewSpec(
            resource_attributes=client.V1ResourceAttributes(verb="delete", resource="nodes")
        )
    )
    authorization = client.AuthorizationV1Api()
    equal(authorization.create_self_subject_access_review(may).status.allowed, True)
    settings = client.Configuration.get_default_copy()
    # Else the token of the kubeconfig comes back.
    settings.refresh_api_key_hook = None
    settings.api_key = {name: f"Bearer {token}" for name in settings.api_key}
    robot = client.ApiClient(settings)
    equal(client.AuthorizationV1Api(robot).create_self_subject_access_review(may).status.allowed, False)
    equal(refused(403, client.CoreV1Api(robot).list_node)["reason"], "Forbidden")


@check
def watch_events():
    start = core.list_namespaced_config_map(NS).metadata.resource_version
    core.create_namespaced_config_map(NS, config_map("seen", {"w": "1"}, x="1"))
    core.patch_namespaced_config_map("seen", NS, {"data": {"x": "2"}})
    core.patch_namespaced_config_map("seen", NS, {"metadata": {"labels": {"w": "0"}}})
    core.delete_namespaced_config_map("seen", NS)
    seen = watch.Watch().stream(
        core.list_namespaced_config_map, NS, resource_version=start, label_selector="w=1", timeout_seconds=1
    )
    # A timeout ends the watch; leaving the selector looks like a deletion.
    equal([event["type"] for event in seen], ["ADDED", "MODIFIED", "DELETED"])


@check
def watch_resumes():
    """The client asks again from the last version that it saw when the server ends a watch."""
    core.create_namespaced_config_map(NS, config_map("resume-0", {"r": "1"}))
    calls, seen = [], []
    watcher = watch.Watch()

    def short(*args, **kwargs):
        calls.append(kwargs.get("resource_version"))
        return core.list_namespaced_config_map(*args, timeout_seconds=1, **kwargs)

    short.__doc__ = core.list_namespaced_config_map.__doc__
    short.__annotations__ = {"return": client.V1ConfigMapList}
    threading.Timer(1.5, lambda: core.create_namespaced_config_map(NS, config_map("resume-1", {"r": "1"}))).start()
    watcher = watch.Watch(return_type=client.V1ConfigMap)
    for event in watcher.stream(short, NS, label_selector="r=1"):
        seen.append((event["type"], event["object"].metadata.name))
        if len(seen) == 2:
            watcher.stop()
    equal(seen, [("ADDED", "resume-0"), ("ADDED", "resume-1")])
    assert len(calls) >= 2 and calls[1] is not None, calls


@check
def watch_from_too_long_ago():
    # A server keeps five minutes of the past, but not more than 16 MiB of states that others replaced.
    core.create_namespaced_config_map(NS, config_map("bulky"))
    for count in range(24):
        core.patch_namespaced_config_map("bulky", NS, {"data": {"filler": str(count % 10) * 900_000}})
    old = watch.Watch().stream(core.list_namespaced_config_map, NS, resource_version="1", timeout_seconds=2)
    try:
        events = list(old)
    except client.exceptions.ApiException as error:
        equal(error.status, 410)
        assert error.reason.startswith("Expired: too old resource version: 1 ("), error.reason
        return
    raise AssertionError(f"no 410 but {len(events)} events")


@check
def watch_with_initial_events():
    core.create_namespaced_config_map(NS, config_map("initial", {"i": "1"}))
    events = []
    watcher = watch.Watch()
    for event in watcher.stream(
        core.list_namespaced_config_map,
        NS,
        label_selector="i=1",
        send_initial_events=True,
        allow_watch_bookmarks=True,
        resource_version_match="NotOlderThan",
        timeout_seconds=5,
    ):
        events.append(event["type"])
        if event["type"] == "BOOKMARK":
            equal(event["raw_object"]["metadata"]["annotations"], {"k8s.io/initial-events-end": "true"})
            break
    equal(events, ["ADDED", "BOOKMARK"])


@check
def shared_informer():
    seen = []
    shared = informer.SharedInformer(core.list_namespaced_config_map, namespace=NS, label_selector="s=1")
    for kind in ("ADDED", "MODIFIED", "DELETED"):
        shared.add_event_handler(kind, lambda item, kind=kind: seen.append((kind, item.metadata.name)))
    core.create_namespaced_config_map(NS, config_map("shared-0", {"s": "1"}))
    shared.start()
    eventually("the list", lambda: len(shared.cache.list()) == 1)
    core.create_namespaced_config_map(NS, config_map("shared-1", {"s": "1"}))
    core.patch_namespaced_config_map("shared-0", NS, {"data": {"x": "1"}})
    core.delete_namespaced_config_map("shared-1", NS)
    eventually("all events", lambda: len(seen) == 4)
    shared.stop()
    equal(seen, [("ADDED", "shared-0"), ("ADDED", "shared-1"), ("MODIFIED", "shared-0"), ("DELETED", "shared-1")])
    equal([item.metadata.name for item in shared.cache.list()], ["shared-0"])


def elect(lock_of, name):
    """Two candidates; the second leads after the first stopped renewing."""
    leaders, let_go = [], threading.Event()

    def lead(identity):
        leaders.append(identity)
        let_go.wait(20)

    def candidate(identity):
        settings = electionconfig.Config(
            lock_of(name, NS, identity), lease_duration=3, renew_deadline=2, retry_period=1,
            onstarted_leading=lambda: lead(identity), onstopped_leading=lambda: None,
        )
        election = leaderelection.LeaderElection(settings)
        threading.Thread(target=election.run, daemon=True).start()
        return election

    first = candidate("first")
    eventually("a leader", lambda: leaders == ["first"])
    candidate("second")
    # Another holder takes the lock away, then is never heard of again.
    first.election_config.lock.update = lambda *_: False
    eventually("the next leader", lambda: leaders == ["first", "second"], 20)
    let_go.set()


@check
def leader_election_with_leases():
    elect(LeaseLock, "lease-lock")
    equal(client.CoordinationV1Api().read_namespaced_lease("lease-lock", NS).spec.holder_identity, "second")


@check
def leader_election_with_config_maps():
    elect(ConfigMapLock, "map-lock")
    notes = core.read_namespaced_config_map("map-lock", NS).metadata.annotations
    assert '"second"' in notes["control-plane.alpha.kubernetes.io/leader"], notes


def widget_definition(group):
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "required": ["size"],
                "properties": {
                    "size": {"type": "integer", "minimum": 1},
                    "replicas": {"type": "integer", "default": 1},
                },
            },
            "status": {"type": "object", "properties": {"replicas": {"type": "integer"}}},
        },
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {
                        "status": {},
                        "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
                    },
                }
            ],
        },
    }


def established(name):
    found = definitions.read_custom_resource_definition(name).status
    return found and any(one.type == "Established" and one.status == "True" for one in found.conditions or [])


@check
def custom_objects():
    group = f"{NS}.example.com"
    definitions.create_custom_resource_definition(widget_definition(group))
    eventually("the CRD", lambda: established(f"widgets.{group}"))
    where = (group, "v1", NS, "widgets")
    body = {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 3}}
    equal(custom.create_namespaced_custom_object(*where, body)["spec"], {"size": 3, "replicas": 1})
    body["metadata"]["name"], body["spec"]["size"] = "bad", 0
    bad = refused(422, custom.create_namespaced_custom_object, *where, body)
    equal(bad["details"]["causes"][0]["field"], "spec.size")
    custom.patch_namespaced_custom_object_status(*where, "w", {"status": {"replicas": 1}})
    equal(custom.get_namespaced_custom_object_scale(*where, "w")["status"]["replicas"], 1)
    custom.patch_namespaced_custom_object_scale(*where, "w", {"spec": {"replicas": 5}})
    custom.patch_namespaced_custom_object(*where, "w", {"spec": {"size": 4}})
    found = custom.list_namespaced_custom_object(*where)["items"][0]
    equal((found["spec"], found["status"]), ({"size": 4, "replicas": 5}, {"replicas": 1}))
    events = watch.Watch().stream(custom.list_namespaced_custom_object, *where, timeout_seconds=1)
    equal([event["type"] for event in events], ["ADDED"])
    custom.delete_collection_namespaced_custom_object(*where)
    equal(custom.list_namespaced_custom_object(*where)["items"], [])
    definitions.delete_custom_resource_definition(f"widgets.{group}")


@check
def dynamic_client():
    with tempfile.TemporaryDirectory() as folder:
        cluster = dynamic.DynamicClient(client.ApiClient(), cache_file=os.path.join(folder, "cache"))
        maps = cluster.resources.get(api_version="v1", kind="ConfigMap")
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "dynamic", "labels": {"d": "1"}}, "data": {"a": "1"}}
        equal(maps.create(body=body, namespace=NS).data.a, "1")
        maps.patch(body={"metadata": {"name": "dynamic"}, "data": {"b": "2"}}, namespace=NS, content_type="application/merge-patch+json")
        body["data"] = {"c": "3"}
        maps.server_side_apply(body=body, name="dynamic", namespace=NS, field_manager="python")
        equal(maps.get(name="dynamic", namespace=NS).data.to_dict(), {"a": "1", "b": "2", "c": "3"})
        equal([item.metadata.name for item in maps.get(namespace=NS, label_selector="d=1").items], ["dynamic"])
        events = [event["type"] for event in maps.watch(namespace=NS, label_selector="d=1", timeout=1)]
        equal(events, ["ADDED"])
        deployments = cluster.resources.get(api_version="apps/v1", kind="Deployment")
        deployments.create(body=client.ApiClient().sanitize_for_serialization(deployment("dynamic", 0)), namespace=NS)
        equal(deployments.scale.get(name="dynamic", namespace=NS).status.selector, "app=dynamic")
        deployments.scale.patch(
            name="dynamic", namespace=NS, body={"spec": {"replicas": 0}}, content_type="application/merge-patch+json"
        )
        # A kind that comes later is found without a new client.
        group = f"d{NS}.example.com"
        crds = cluster.resources.get(api_version="apiextensions.k8s.io/v1", kind="CustomResourceDefinition")
        crds.create(body=widget_definition(group))
        eventually("the CRD", lambda: established(f"widgets.{group}"))
        found = eventually("discovery", lambda: list(cluster.resources.search(api_version=f"{group}/v1", kind="Widget")))
        widget = {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 3}}
        found[0].create(body=widget, namespace=NS)
        equal(found[0].get(name="w", namespace=NS).spec.replicas, 1)
        found[0].delete(name="w", namespace=NS)
        crds.delete(name=f"widgets.{group}")
        maps.delete(name="dynamic", namespace=NS)


@check
def create_from_yaml():
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(DOCUMENTS)
        file.flush()
        utils.create_from_yaml(client.ApiClient(), file.name, namespace=NS)
        try:
            utils.create_from_yaml(client.ApiClient(), file.name, namespace=NS)
            raise AssertionError("made twice")
        except utils.FailToCreateError as error:
            equal({one.status for one in error.api_exceptions}, {409})
        utils.create_from_yaml(client.ApiClient(), file.name, namespace=NS, apply=True)
    equal(core.read_namespaced_service("from-yaml", NS).spec.ports[0].target_port, "web")
    equal(client.BatchV1Api().read_namespaced_cron_job("from-yaml", NS).spec.schedule, "@daily")
    equal(client.NetworkingV1Api().read_namespaced_ingress("from-yaml", NS).spec.rules[0].http.paths[0].path, "/")
    equal(core.read_namespaced_secret("from-yaml", NS).data, {"key": "dmFsdWU="})


DOCUMENTS = """
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Secret, metadata: {name: from-yaml}, stringData: {key: value}}
- apiVersion: v1
  kind: Service
  metadata: {name: from-yaml}
  spec: {selector: {app: x}, ports: [{port: 80, targetPort: web}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: from-yaml}
spec:
  schedule: "@daily"
  suspend: true
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: node}]}}}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: from-yaml}
spec:
  rules: [{http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: from-yaml, port: {number: 80}}}}]}}]
"""


@check
def finalizers_and_owners():
    owner = core.create_namespaced_config_map(NS, config_map("owner"))
    reference = client.V1OwnerReference(api_version="v1", block_owner_deletion=True, kind="ConfigMap", name="owner", uid=owner.metadata.uid)
    meta = client.V1ObjectMeta(name="owned", owner_references=[reference], finalizers=["example.com/hold"])
    core.create_namespaced_config_map(NS, client.V1ConfigMap(metadata=meta))
    core.delete_namespaced_config_map("owner", NS, propagation_policy="Foreground")
    eventually("the child's deletion", lambda: core.read_namespaced_config_map("owned", NS).metadata.deletion_timestamp)
    equal(core.read_namespaced_config_map("owner", NS).metadata.finalizers, ["foregroundDeletion"])
    core.patch_namespaced_config_map("owned", NS, {"metadata": {"finalizers": None}})
    eventually("the owner's end", lambda: refused_or_none("owner"))


def refused_or_none(name):
    try:
        core.read_namespaced_config_map(name, NS)
    except client.exceptions.ApiException as error:
        return error.status == 404
    return False


@check
def asynchronous_client():
    async def use():
        await aio.config.load_kube_config(context=context)
        async with aio.client.ApiClient() as api:
            v1 = aio.client.CoreV1Api(api)
            await v1.create_namespaced_config_map(NS, {"metadata": {"name": "aio", "labels": {"aio": "1"}}})
            events = []
            async with aio.watch.Watch().stream(
                v1.list_namespaced_config_map, NS, label_selector="aio=1", timeout_seconds=1
            ) as changes:
                async for event in changes:
                    events.append(event["type"])
            equal(events, ["ADDED"])
            await asyncio.gather(*(v1.read_namespaced_config_map("aio", NS) for _ in range(20)))
            maps = await (await aio.dynamic.DynamicClient(api)).resources.get(api_version="v1", kind="ConfigMap")
            found = await maps.get(name="aio", namespace=NS)
            equal(found.metadata.name, "aio")

    asyncio.run(use())


def running_pod(name, script, **more):
    container = client.V1Container(
        name="main", image="node", command=["sh", "-c", script], ports=[client.V1ContainerPort(container_port=8080)], **more
    )
    spec = client.V1PodSpec(containers=[container], termination_grace_period_seconds=0, restart_policy="Never")
    core.create_namespaced_pod(NS, client.V1Pod(metadata=client.V1ObjectMeta(name=name), spec=spec))
    phase = lambda: core.read_namespaced_pod_status(name, NS).status.phase in ("Running", "Succeeded")
    eventually(f"pod {name}", phase, 60)


@check
def pod_logs():
    running_pod("logs", "for n in 1 2 3; do echo line $n; sleep 0.2; done")
    lines = list(watch.Watch().stream(core.read_namespaced_pod_log, "logs", NS))
    equal(lines, ["line 1", "line 2", "line 3"])
    equal(core.read_namespaced_pod_log("logs", NS, tail_lines=1), "line 3\n")
    eventually("the end", lambda: core.read_namespaced_pod("logs", NS).status.phase == "Succeeded")
    ended = core.read_namespaced_pod("logs", NS).status.container_statuses[0].state.terminated
    equal((ended.exit_code, ended.reason), (0, "Completed"))


@check
def pod_exec():
    running_pod("exec", "echo ready; cat; sleep 600", stdin=True)
    call = core.connect_get_namespaced_pod_exec
    said = stream(call, "exec", NS, command=["sh", "-c", "echo out; echo err >&2"], stderr=True, stdout=True, stdin=False, tty=False)
    equal(sorted(said.split()), ["err", "out"])
    open_exec = lambda **how: stream(call, "exec", NS, stderr=True, stdout=True, _preload_content=False, **how)
    session = open_exec(command=["sh", "-c", "read a; echo got $a; read b; exit 7"], stdin=True, tty=False)
    session.write_stdin("hello\n")
    equal(session.readline_stdout(timeout=10), "got hello")
    session.write_stdin("bye\n")
    session.run_forever(timeout=10)
    equal(session.returncode, 7)
    session = open_exec(command=["cat"], stdin=True, tty=False, binary=True)
    session.write_stdin(bytes(range(256)))
    equal(session.read_stdout(timeout=10), bytes(range(256)))
    session.close()
    session = open_exec(command=["sh", "-c", "stty size; tty"], stdin=False, tty=True)
    session.run_forever(timeout=10)
    assert "/dev/pts" in session.read_stdout(), "no terminal"
    missing = open_exec(command=["no-such-program"], stdin=False, tty=False)
    missing.run_forever(timeout=10)
    assert missing.returncode, "a program that is not there ended well"
    session = stream(core.connect_get_namespaced_pod_attach, "exec", NS, stdin=True, stdout=True, stderr=False, tty=False, _preload_content=False)
    session.write_stdin("to the main program\n")
    equal(session.readline_stdout(timeout=10), "to the main program")
    session.close()


@check
def port_forward():
    running_pod("web", "exec node -e 'require(\"http\").createServer((q,s)=>s.end(\"hello \"+q.url)).listen(8080)'")
    answer = b""
    for _ in range(100):
        forward = portforward(core.connect_get_namespaced_pod_portforward, "web", NS, ports="8080")
        socket = forward.socket(8080)
        socket.sendall(b"GET /there HTTP/1.0\r\n\r\n")
        answer = b""
        while chunk := socket.recv(4096):
            answer += chunk
        forward.close()
        if answer:
            break
    assert answer.endswith(b"hello /there"), answer
    # The API server's proxy, to the pod and to a service in front of it.
    equal(core.connect_get_namespaced_pod_proxy_with_path("web:8080", NS, "there"), "hello /there")


@check
def eviction_and_deletion():
    running_pod("evicted", "sleep 600")
    body = client.V1Eviction(metadata=client.V1ObjectMeta(name="evicted", namespace=NS))
    core.create_namespaced_pod_eviction("evicted", NS, body)
    gone = lambda: not core.list_namespaced_pod(NS, field_selector="metadata.name=evicted").items
    eventually("the pod's end", gone)


@check
def rollout():
    apps.create_namespaced_deployment(NS, deployment("rolled", 1))
    available = lambda: (apps.read_namespaced_deployment_status("rolled", NS).status.available_replicas or 0) >= 1
    eventually("a pod", available, 60)
    events = core.list_namespaced_event(NS, field_selector="involvedObject.kind=Deployment,involvedObject.name=rolled")
    equal([event.reason for event in events.items], ["ScalingReplicaSet"])
    apps.delete_namespaced_deployment("rolled", NS)


run_all(sys.argv[2:])
core.delete_namespace(NS)
