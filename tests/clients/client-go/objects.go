package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	appsconfig "k8s.io/client-go/applyconfigurations/apps/v1"
	coreconfig "k8s.io/client-go/applyconfigurations/core/v1"
	metaconfig "k8s.io/client-go/applyconfigurations/meta/v1"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes/scheme"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/scale"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/pager"
	"k8s.io/client-go/tools/record"
	watchtools "k8s.io/client-go/tools/watch"
	"k8s.io/client-go/util/retry"
)

func configMap(name string, labels map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}, Data: map[string]string{"x": "1"}}
}

func deployment(name string) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	replicas := int32(0)
	container := corev1.Container{Name: "main", Image: "node", Ports: []corev1.ContainerPort{{ContainerPort: 80}},
		ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromString("web")}}}}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{container}}},
		},
	}
}

// protobuf: a client that prefers protobuf writes in it, and reads what it gets.
func protobuf(ctx context.Context, w *world) error {
	maps := w.protobuf.CoreV1().ConfigMaps(w.namespace)
	made, err := maps.Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "binary", Labels: map[string]string{"b": "1"}},
		BinaryData: map[string][]byte{"bytes": {0, 255, 1}},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	watching, err := maps.Watch(ctx, metav1.ListOptions{LabelSelector: "b=1", ResourceVersion: made.ResourceVersion})
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	defer watching.Stop()
	made.Data = map[string]string{"a": "ü"}
	if _, err := maps.Update(ctx, made, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("update: %w", err)
	}
	event := <-watching.ResultChan()
	changed, ok := event.Object.(*corev1.ConfigMap)
	if !ok || event.Type != watch.Modified || changed.Data["a"] != "ü" || string(changed.BinaryData["bytes"]) != "\x00\xff\x01" {
		return fmt.Errorf("watched %v %v", event.Type, event.Object)
	}
	deployments := w.protobuf.AppsV1().Deployments(w.namespace)
	first, err := deployments.Create(ctx, deployment("binary"), metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create a deployment: %w", err)
	}
	if err := equal("port", first.Spec.Template.Spec.Containers[0].ReadinessProbe.HTTPGet.Port.String(), "web"); err != nil {
		return err
	}
	zero := int64(0)
	if err := deployments.Delete(ctx, "binary", metav1.DeleteOptions{GracePeriodSeconds: &zero}); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	_, err = maps.Create(ctx, configMap("binary", nil), metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("created twice: %w", err)
	}
	return nil
}

func apply(ctx context.Context, w *world) error {
	deployments := w.client.AppsV1().Deployments(w.namespace)
	wanted := func(image string) *appsconfig.DeploymentApplyConfiguration {
		labels := map[string]string{"app": "applied"}
		container := coreconfig.Container().WithName("main").WithImage(image).
			WithPorts(coreconfig.ContainerPort().WithContainerPort(80).WithProtocol(corev1.ProtocolTCP))
		return appsconfig.Deployment("applied", w.namespace).WithSpec(appsconfig.DeploymentSpec().WithReplicas(0).
			WithSelector(metaconfig.LabelSelector().WithMatchLabels(labels)).
			WithTemplate(coreconfig.PodTemplateSpec().WithLabels(labels).WithSpec(coreconfig.PodSpec().WithContainers(container))))
	}
	if _, err := deployments.Apply(ctx, wanted("one"), metav1.ApplyOptions{FieldManager: "first"}); err != nil {
		return err
	}
	_, err := deployments.Apply(ctx, wanted("two"), metav1.ApplyOptions{FieldManager: "second"})
	if !apierrors.IsConflict(err) || !strings.Contains(err.Error(), `conflict with "first": .spec.template.spec.containers[name="main"].image`) {
		return fmt.Errorf("no conflict: %w", err)
	}
	forced, err := deployments.Apply(ctx, wanted("two"), metav1.ApplyOptions{FieldManager: "second", Force: true})
	if err != nil {
		return err
	}
	return equal("image", forced.Spec.Template.Spec.Containers[0].Image, "two")
}

// extract: what a manager owns comes back as an apply configuration, by the schema that the server's managedFields follow.
func extract(ctx context.Context, w *world) error {
	services := w.client.CoreV1().Services(w.namespace)
	wanted := coreconfig.Service("extracted", w.namespace).WithSpec(coreconfig.ServiceSpec().
		WithSelector(map[string]string{"a": "b"}).
		WithPorts(coreconfig.ServicePort().WithName("http").WithPort(80).WithTargetPort(intstr.FromInt32(8080))))
	made, err := services.Apply(ctx, wanted, metav1.ApplyOptions{FieldManager: "owner"})
	if err != nil {
		return err
	}
	mine, err := coreconfig.ExtractService(made, "owner")
	if err != nil {
		return err
	}
	found, err := json.Marshal(mine.Spec)
	if err != nil {
		return err
	}
	return equal("owned", string(found), `{"ports":[{"name":"http","port":80,"targetPort":8080}],"selector":{"a":"b"}}`)
}

func scaling(ctx context.Context, w *world) error {
	if _, err := w.client.AppsV1().Deployments(w.namespace).Create(ctx, deployment("scaled"), metav1.CreateOptions{}); err != nil {
		return err
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(w.client.Discovery()))
	kinds := scale.NewDiscoveryScaleKindResolver(w.client.Discovery())
	client, err := scale.NewForConfig(w.config, mapper, dynamic.LegacyAPIPathResolverFunc, kinds)
	if err != nil {
		return err
	}
	resource := appsv1.Resource("deployments")
	scales := client.Scales(w.namespace)
	err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		now, err := scales.Get(ctx, resource, "scaled", metav1.GetOptions{})
		if err != nil {
			return err
		}
		now.Spec.Replicas = 2
		_, err = scales.Update(ctx, resource, now, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		return err
	}
	patched, err := scales.Patch(ctx, appsv1.SchemeGroupVersion.WithResource("deployments"), "scaled", types.MergePatchType,
		[]byte(`{"spec":{"replicas":0}}`), metav1.PatchOptions{})
	if err != nil {
		return err
	}
	return equal("replicas", patched.Spec.Replicas, 0)
}

// retryWatcher: goes on where the server ended a watch.
func retryWatcher(ctx context.Context, w *world) error {
	maps := w.client.CoreV1().ConfigMaps(w.namespace)
	start, err := maps.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	watcher, err := watchtools.NewRetryWatcherWithContext(ctx, start.ResourceVersion, &cache.ListWatch{
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			second := int64(1)
			options.TimeoutSeconds = &second
			options.LabelSelector = "retry=1"
			return maps.Watch(ctx, options)
		},
	})
	if err != nil {
		return err
	}
	defer watcher.Stop()
	for number := range 3 {
		name := fmt.Sprintf("retry-%d", number)
		if _, err := maps.Create(ctx, configMap(name, map[string]string{"retry": "1"}), metav1.CreateOptions{}); err != nil {
			return err
		}
		event := <-watcher.ResultChan()
		if err := equal("event", event.Object.(*corev1.ConfigMap).Name, name); err != nil {
			return err
		}
		if number == 0 {
			// Longer than the server's timeout.
			<-timeAfter(1500)
		}
	}
	return nil
}

func conflicts(ctx context.Context, w *world) error {
	maps := w.client.CoreV1().ConfigMaps(w.namespace)
	if _, err := maps.Create(ctx, configMap("counter", nil), metav1.CreateOptions{}); err != nil {
		return err
	}
	failures := make(chan error)
	for writer := range 5 {
		go func() {
			failures <- retry.RetryOnConflict(wait.Backoff{Steps: 50, Duration: 5 * time.Millisecond, Factor: 1.1, Jitter: 0.5}, func() error {
				now, err := maps.Get(ctx, "counter", metav1.GetOptions{})
				if err != nil {
					return err
				}
				now.Data[fmt.Sprint("writer-", writer)] = "was here"
				_, err = maps.Update(ctx, now, metav1.UpdateOptions{})
				return err
			})
		}()
	}
	for range 5 {
		if err := <-failures; err != nil {
			return err
		}
	}
	found, err := maps.Get(ctx, "counter", metav1.GetOptions{})
	if err != nil {
		return err
	}
	return equal("writers", len(found.Data), 6)
}

func errorsByReason(ctx context.Context, w *world) error {
	maps := w.client.CoreV1().ConfigMaps(w.namespace)
	if _, err := maps.Get(ctx, "nothing", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		return fmt.Errorf("not found: %w", err)
	}
	if _, err := maps.Create(ctx, configMap("No_Name", nil), metav1.CreateOptions{}); !apierrors.IsInvalid(err) {
		return fmt.Errorf("invalid: %w", err)
	}
	if _, err := maps.List(ctx, metav1.ListOptions{LabelSelector: "a in"}); !apierrors.IsBadRequest(err) {
		return fmt.Errorf("bad request: %w", err)
	}
	old := metav1.ListOptions{ResourceVersion: "999999999", ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan}
	// Without the retries that the answer asks for.
	listed := w.client.CoreV1().RESTClient().Get().MaxRetries(0).Namespace(w.namespace).Resource("configmaps").VersionedParams(&old, scheme.ParameterCodec)
	if err := listed.Do(ctx).Error(); !apierrors.IsTimeout(err) || !apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge) {
		return fmt.Errorf("too large: %w", err)
	}
	if _, err := w.client.CoreV1().ConfigMaps("no-such-namespace").Create(ctx, configMap("x", nil), metav1.CreateOptions{}); !apierrors.IsNotFound(err) {
		return fmt.Errorf("namespace: %w", err)
	}
	uid := types.UID("other")
	err := maps.Delete(ctx, "kube-root-ca.crt", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
	if !apierrors.IsConflict(err) {
		return fmt.Errorf("precondition: %w", err)
	}
	return nil
}

func pages(ctx context.Context, w *world) error {
	maps := w.client.CoreV1().ConfigMaps(w.namespace)
	for number := range 25 {
		if _, err := maps.Create(ctx, configMap(fmt.Sprintf("page-%02d", number), map[string]string{"page": "1"}), metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	list := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return maps.List(ctx, options)
	})
	list.PageSize = 10
	count := 0
	err := list.EachListItem(ctx, metav1.ListOptions{LabelSelector: "page=1"}, func(runtime.Object) error {
		count++
		return nil
	})
	if err != nil {
		return err
	}
	if err := equal("items", count, 25); err != nil {
		return err
	}
	return maps.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "page=1"})
}

// events: the recorder counts what repeats.
func events(ctx context.Context, w *world) error {
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	defer broadcaster.Shutdown()
	broadcaster.StartRecordingToSink(&corev1client.EventSinkImpl{Interface: w.client.CoreV1().Events(w.namespace)})
	recorder := broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "client-go"})
	about, err := w.client.CoreV1().ConfigMaps(w.namespace).Create(ctx, configMap("eventful", nil), metav1.CreateOptions{})
	if err != nil {
		return err
	}
	for range 3 {
		recorder.Eventf(about, corev1.EventTypeNormal, "Happened", "again and again")
	}
	return eventually(ctx, "an event with its count", func() (bool, error) {
		found, err := w.client.CoreV1().Events(w.namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=eventful,reason=Happened"})
		return err == nil && len(found.Items) == 1 && found.Items[0].Count == 3, err
	})
}
