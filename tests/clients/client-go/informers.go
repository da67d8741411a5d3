package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/dynamic/dynamicinformer"
	clientfeatures "k8s.io/client-go/features"
	factories "k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/util/workqueue"
)

func timeAfter(milliseconds int) <-chan time.Time {
	return time.After(time.Duration(milliseconds) * time.Millisecond)
}

type counts struct{ added, updated, deleted atomic.Int32 }

func (c *counts) handler() cache.ResourceEventHandlerFuncs {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { c.added.Add(1) },
		UpdateFunc: func(any, any) { c.updated.Add(1) },
		DeleteFunc: func(any) { c.deleted.Add(1) },
	}
}

func (c *counts) are(added, updated, deleted int32) func() (bool, error) {
	return func() (bool, error) {
		return c.added.Load() == added && c.updated.Load() >= updated && c.deleted.Load() == deleted, nil
	}
}

// disturb makes two objects with the label, changes one, takes the other away.
func disturb(ctx context.Context, w *world, prefix string) error {
	maps := w.client.CoreV1().ConfigMaps(w.namespace)
	for _, name := range []string{"a", "b"} {
		if _, err := maps.Create(ctx, configMap(prefix+"-"+name, map[string]string{"disturb": prefix}), metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	now, err := maps.Get(ctx, prefix+"-a", metav1.GetOptions{})
	if err != nil {
		return err
	}
	now.Data["x"] = "2"
	if _, err := maps.Update(ctx, now, metav1.UpdateOptions{}); err != nil {
		return err
	}
	return maps.Delete(ctx, prefix+"-b", metav1.DeleteOptions{})
}

func informOf(ctx context.Context, w *world, client kubernetes.Interface, prefix string) error {
	if _, err := w.client.CoreV1().ConfigMaps(w.namespace).Create(ctx, configMap(prefix+"-0", map[string]string{"disturb": prefix}), metav1.CreateOptions{}); err != nil {
		return err
	}
	factory := factories.NewSharedInformerFactoryWithOptions(client, 0, factories.WithNamespace(w.namespace),
		factories.WithTweakListOptions(func(options *metav1.ListOptions) { options.LabelSelector = "disturb=" + prefix }))
	maps := factory.Core().V1().ConfigMaps()
	var seen counts
	if _, err := maps.Informer().AddEventHandler(seen.handler()); err != nil {
		return err
	}
	if err := maps.Informer().AddIndexers(cache.Indexers{"x": func(item any) ([]string, error) {
		return []string{item.(*corev1.ConfigMap).Data["x"]}, nil
	}}); err != nil {
		return err
	}
	limited, stop := context.WithCancel(ctx)
	defer stop()
	factory.Start(limited.Done())
	for kind, synced := range factory.WaitForCacheSync(limited.Done()) {
		if !synced {
			return fmt.Errorf("%v does not synchronise", kind)
		}
	}
	if err := disturb(ctx, w, prefix); err != nil {
		return err
	}
	if err := eventually(ctx, "all changes", seen.are(3, 1, 1)); err != nil {
		return fmt.Errorf("%w: %d added, %d updated, %d deleted", err, seen.added.Load(), seen.updated.Load(), seen.deleted.Load())
	}
	listed, err := maps.Lister().ConfigMaps(w.namespace).List(labels.Everything())
	if err != nil {
		return err
	}
	indexed, err := maps.Informer().GetIndexer().ByIndex("x", "2")
	if err != nil {
		return err
	}
	if len(listed) != 2 || len(indexed) != 1 {
		return fmt.Errorf("%d listed, %d indexed", len(listed), len(indexed))
	}
	stop()
	factory.Shutdown()
	return nil
}

func informers(ctx context.Context, w *world) error {
	return errors.Join(informOf(ctx, w, w.client, "json"), informOf(ctx, w, w.protobuf, "protobuf"))
}

// watchList: the reflector takes the first state from the watch, with the feature that newer clients have on.
func watchList(ctx context.Context, w *world) error {
	gates, ok := clientfeatures.FeatureGates().(interface {
		Set(clientfeatures.Feature, bool) error
	})
	if !ok {
		return errors.New("the feature gates cannot be set")
	}
	if err := gates.Set(clientfeatures.WatchListClient, true); err != nil {
		return err
	}
	defer func() { _ = gates.Set(clientfeatures.WatchListClient, false) }()
	// A list would be the way around it.
	config := rest.CopyConfig(w.config)
	var lists atomic.Int32
	config.Wrap(counting(&lists))
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	if err := informOf(ctx, w, client, "watch-list"); err != nil {
		return err
	}
	return equal("lists", lists.Load(), 0)
}

func dynamicInformers(ctx context.Context, w *world) error {
	factory := dynamicinformer.NewFilteredDynamicSharedInformerFactory(w.dynamic, 0, w.namespace,
		func(options *metav1.ListOptions) { options.LabelSelector = "disturb=dynamic" })
	informer := factory.ForResource(corev1.SchemeGroupVersion.WithResource("configmaps"))
	return followed(ctx, w, "dynamic", informer, factory.Start, func(item any) bool {
		_, ok := item.(*unstructured.Unstructured)
		return ok
	})
}

func metadataInformers(ctx context.Context, w *world) error {
	client, err := metadata.NewForConfig(w.config)
	if err != nil {
		return err
	}
	factory := metadatainformer.NewFilteredSharedInformerFactory(client, 0, w.namespace,
		func(options *metav1.ListOptions) { options.LabelSelector = "disturb=metadata" })
	informer := factory.ForResource(corev1.SchemeGroupVersion.WithResource("configmaps"))
	return followed(ctx, w, "metadata", informer, factory.Start, func(item any) bool {
		_, ok := item.(*metav1.PartialObjectMetadata)
		return ok
	})
}

func followed(ctx context.Context, w *world, prefix string, informer factories.GenericInformer, start func(<-chan struct{}), isRight func(any) bool) error {
	var seen counts
	if _, err := informer.Informer().AddEventHandler(seen.handler()); err != nil {
		return err
	}
	limited, stop := context.WithCancel(ctx)
	defer stop()
	start(limited.Done())
	if !cache.WaitForCacheSync(limited.Done(), informer.Informer().HasSynced) {
		return errors.New("does not synchronise")
	}
	if err := disturb(ctx, w, prefix); err != nil {
		return err
	}
	if err := eventually(ctx, "all changes", seen.are(2, 1, 1)); err != nil {
		return err
	}
	items := informer.Informer().GetStore().List()
	if len(items) != 1 || !isRight(items[0]) {
		return fmt.Errorf("%d items: %T", len(items), items)
	}
	return nil
}

// workQueue: the pattern of every controller: informer, queue with back-off, update of what was found.
func workQueue(ctx context.Context, w *world) error {
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]())
	factory := factories.NewSharedInformerFactoryWithOptions(w.client, 0, factories.WithNamespace(w.namespace),
		factories.WithTweakListOptions(func(options *metav1.ListOptions) { options.LabelSelector = "queue" }))
	informer := factory.Core().V1().ConfigMaps()
	enqueue := func(item any) {
		if key, err := cache.MetaNamespaceKeyFunc(item); err == nil {
			queue.Add(key)
		}
	}
	if _, err := informer.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: enqueue, UpdateFunc: func(_, item any) { enqueue(item) },
	}); err != nil {
		return err
	}
	limited, stop := context.WithCancel(ctx)
	defer stop()
	factory.Start(limited.Done())
	factory.WaitForCacheSync(limited.Done())
	for range 4 {
		go func() {
			for {
				key, shutdown := queue.Get()
				if shutdown {
					return
				}
				if err := reconcile(limited, w, informer.Lister().ConfigMaps(w.namespace).Get, key); err != nil {
					queue.AddRateLimited(key)
				} else {
					queue.Forget(key)
				}
				queue.Done(key)
			}
		}()
	}
	defer queue.ShutDown()
	maps := w.client.CoreV1().ConfigMaps(w.namespace)
	for number := range 50 {
		if _, err := maps.Create(ctx, configMap(fmt.Sprintf("queue-%d", number), map[string]string{"queue": "new"}), metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	return eventually(ctx, "all reconciled", func() (bool, error) {
		found, err := maps.List(ctx, metav1.ListOptions{LabelSelector: "queue=done"})
		return err == nil && len(found.Items) == 50, err
	})
}

func reconcile(ctx context.Context, w *world, get func(string) (*corev1.ConfigMap, error), key string) error {
	_, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return err
	}
	found, err := get(name)
	if err != nil || found.Labels["queue"] == "done" {
		return err
	}
	changed := found.DeepCopy()
	changed.Labels["queue"] = "done"
	_, err = w.client.CoreV1().ConfigMaps(w.namespace).Update(ctx, changed, metav1.UpdateOptions{})
	return err
}

// leaderElection: the second candidate leads when the first lets go.
func leaderElection(ctx context.Context, w *world) error {
	leaders := make(chan string, 2)
	elect := func(identity string) (context.CancelFunc, error) {
		lock, err := resourcelock.NewFromKubeconfig(resourcelock.LeasesResourceLock, w.namespace, "leader",
			resourcelock.ResourceLockConfig{Identity: identity}, w.config, 2*time.Second)
		if err != nil {
			return nil, err
		}
		limited, stop := context.WithCancel(ctx)
		go leaderelection.RunOrDie(limited, leaderelection.LeaderElectionConfig{
			Lock: lock, ReleaseOnCancel: true, LeaseDuration: 3 * time.Second, RenewDeadline: 2 * time.Second, RetryPeriod: 200 * time.Millisecond,
			Callbacks: leaderelection.LeaderCallbacks{
				OnStartedLeading: func(context.Context) { leaders <- identity },
				OnStoppedLeading: func() {},
			},
		})
		return stop, nil
	}
	stopFirst, err := elect("first")
	if err != nil {
		return err
	}
	if err := equal("leader", <-leaders, "first"); err != nil {
		return err
	}
	stopSecond, err := elect("second")
	if err != nil {
		return err
	}
	defer stopSecond()
	stopFirst()
	select {
	case leader := <-leaders:
		if err := equal("next leader", leader, "second"); err != nil {
			return err
		}
	case <-ctx.Done():
		return errors.New("nobody leads")
	}
	lease, err := w.client.CoordinationV1().Leases(w.namespace).Get(ctx, "leader", metav1.GetOptions{})
	if err != nil {
		return err
	}
	if *lease.Spec.HolderIdentity != "second" || *lease.Spec.LeaseTransitions < 1 {
		return fmt.Errorf("lease %v", lease.Spec)
	}
	return nil
}
