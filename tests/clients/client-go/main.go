// What controllers do with client-go, against one cluster; KUBECONFIG names the file. Prints a line of JSON for each check.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

type world struct {
	config    *rest.Config
	client    kubernetes.Interface
	protobuf  kubernetes.Interface
	dynamic   dynamic.Interface
	namespace string
}

type check struct {
	name string
	run  func(context.Context, *world) error
}

var checks = []check{
	{"discovery", discovery},
	{"openAPI", openAPI},
	{"mapper", mapper},
	{"protobuf", protobuf},
	{"informers", informers},
	{"watchList", watchList},
	{"dynamicInformers", dynamicInformers},
	{"metadataInformers", metadataInformers},
	{"workQueue", workQueue},
	{"leaderElection", leaderElection},
	{"apply", apply},
	{"extract", extract},
	{"scaling", scaling},
	{"retryWatcher", retryWatcher},
	{"conflicts", conflicts},
	{"errorsByReason", errorsByReason},
	{"pages", pages},
	{"events", events},
	{"podStreams", podStreams},
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(names []string) error {
	loading := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		clientcmd.NewDefaultClientConfigLoadingRules(), &clientcmd.ConfigOverrides{})
	config, err := loading.ClientConfig()
	if err != nil {
		return err
	}
	config.QPS = 200
	config.Burst = 400
	binary := rest.CopyConfig(config)
	binary.ContentType = "application/vnd.kubernetes.protobuf"
	binary.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	w := &world{config: config}
	if w.client, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	if w.protobuf, err = kubernetes.NewForConfig(binary); err != nil {
		return err
	}
	if w.dynamic, err = dynamic.NewForConfig(config); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	made, err := w.client.CoreV1().Namespaces().Create(ctx,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "client-go-"}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	w.namespace = made.Name
	for _, each := range checks {
		if len(names) > 0 && !contains(names, each.name) {
			continue
		}
		limited, done := context.WithTimeout(ctx, time.Minute)
		started := time.Now()
		result := "ok"
		if err := each.run(limited, w); err != nil {
			result = err.Error()
		}
		done()
		line, err := json.Marshal(map[string]any{"check": each.name, "result": result, "seconds": time.Since(started).Seconds()})
		if err != nil {
			return err
		}
		fmt.Println(string(line))
	}
	return w.client.CoreV1().Namespaces().Delete(ctx, w.namespace, metav1.DeleteOptions{})
}

func contains(names []string, name string) bool {
	for _, each := range names {
		if each == name {
			return true
		}
	}
	return false
}

// eventually asks until the answer is true.
func eventually(ctx context.Context, what string, ask func() (bool, error)) error {
	for {
		done, err := ask()
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.New("not in time: " + what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func equal[T comparable](what string, found, wanted T) error {
	if found != wanted {
		return fmt.Errorf("%s: found %v, wanted %v", what, found, wanted)
	}
	return nil
}
