// A controller as people write them with controller-runtime: a CRD with status and scale, a validating and a mutating webhook
// served by itself, owned objects, a finalizer, events, leader election. Runs against one cluster (KUBECONFIG), and prints a
// line of JSON for each check.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	extensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
)

type world struct {
	config    *rest.Config
	scheme    *runtime.Scheme
	client    client.Client
	folder    string
	namespace string
	ca        []byte
	port      int
	first     *running
	second    *running
}

var checks = []struct {
	name string
	run  func(context.Context, *world) error
}{
	{"definition", definition},
	{"managerStarts", managerStarts},
	{"mutatingWebhook", mutatingWebhook},
	{"validatingWebhook", validatingWebhook},
	{"reconciles", reconciles},
	{"owns", owns},
	{"scales", scales},
	{"printsColumns", printsColumns},
	{"recordsEvents", recordsEvents},
	{"finalizes", finalizes},
	{"handsOver", handsOver},
}

func main() {
	ctrl.SetLogger(zap.New(zap.UseDevMode(true)))
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	w := &world{config: ctrl.GetConfigOrDie(), scheme: scheme.Scheme}
	w.config.QPS = 200
	w.config.Burst = 400
	if err := addTypes(w.scheme); err != nil {
		return err
	}
	if err := extensionsv1.AddToScheme(w.scheme); err != nil {
		return err
	}
	var err error
	if w.client, err = client.New(w.config, client.Options{Scheme: w.scheme}); err != nil {
		return err
	}
	if w.folder, err = os.MkdirTemp("", "controller-runtime-"); err != nil {
		return err
	}
	defer os.RemoveAll(w.folder)
	if w.ca, err = writeCertificates(w.folder); err != nil {
		return err
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "controller-runtime-"}}
	if err := w.client.Create(ctx, namespace); err != nil {
		return err
	}
	w.namespace = namespace.Name
	defer cleanUp(context.WithoutCancel(ctx), w)
	for _, each := range checks {
		limited, done := context.WithTimeout(ctx, 30*time.Second)
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
	return nil
}

// running is a manager of this process.
type running struct {
	manager ctrl.Manager
	stop    context.CancelFunc
	ended   chan error
}

func start(w *world, identity string, port int) (*running, error) {
	period, deadline, retry := 3*time.Second, 2*time.Second, 300*time.Millisecond
	own, err := ctrl.NewManager(w.config, ctrl.Options{
		Scheme:                        w.scheme,
		Metrics:                       server.Options{BindAddress: "0"},
		HealthProbeBindAddress:        "0",
		LeaderElection:                true,
		LeaderElectionID:              "gadgets.example.com",
		LeaderElectionNamespace:       w.namespace,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 &period,
		RenewDeadline:                 &deadline,
		RetryPeriod:                   &retry,
		WebhookServer: webhook.NewServer(webhook.Options{
			Host: "127.0.0.1", Port: port, CertDir: filepath.Join(w.folder), CertName: "tls.crt", KeyName: "tls.key",
		}),
		Controller: controllerOptions(),
	})
	if err != nil {
		return nil, err
	}
	if err := own.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return nil, err
	}
	reconciler := &gadgets{Client: own.GetClient(), recorder: own.GetEventRecorderFor("gadgets"), identity: identity}
	if err := ctrl.NewControllerManagedBy(own).For(&Gadget{}).Owns(&corev1.ConfigMap{}).Named("gadgets-" + identity).Complete(reconciler); err != nil {
		return nil, err
	}
	if err := ctrl.NewWebhookManagedBy(own).For(&Gadget{}).WithDefaulter(&gadgetAdmission{}).WithValidator(&gadgetAdmission{}).Complete(); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	result := &running{manager: own, stop: stop, ended: make(chan error, 1)}
	go func() { result.ended <- own.Start(ctx) }()
	return result, nil
}
