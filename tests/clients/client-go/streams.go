package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/client-go/util/exec"
)

type roundTripper func(*http.Request) (*http.Response, error)

func (r roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return r(request) }

// counting counts the lists among a client's requests.
func counting(lists *atomic.Int32) transport.WrapperFunc {
	return func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(request *http.Request) (*http.Response, error) {
			if request.Method == http.MethodGet && request.URL.Query().Get("watch") == "" {
				lists.Add(1)
			}
			return next.RoundTrip(request)
		})
	}
}

func podStreams(ctx context.Context, w *world) error {
	zero := int64(0)
	pods := w.client.CoreV1().Pods(w.namespace)
	script := `echo started; exec node -e 'require("http").createServer((q,s)=>s.end("hello")).listen(8080)'`
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "streams"}, Spec: corev1.PodSpec{TerminationGracePeriodSeconds: &zero,
		Containers: []corev1.Container{{Name: "main", Image: "node", Command: []string{"sh", "-c", script}}}}}
	if _, err := pods.Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		return err
	}
	err := eventually(ctx, "the pod runs", func() (bool, error) {
		now, err := pods.Get(ctx, "streams", metav1.GetOptions{})
		return err == nil && now.Status.Phase == corev1.PodRunning, err
	})
	if err != nil {
		return err
	}
	for name, execute := range map[string]func(context.Context, *world) error{"websocket": executeByWebSocket, "spdy": executeBySpdy} {
		if err := execute(ctx, w); err != nil {
			return fmt.Errorf("exec by %s: %w", name, err)
		}
	}
	logs, err := pods.GetLogs("streams", &corev1.PodLogOptions{}).Stream(ctx)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(logs)
	if err != nil {
		return err
	}
	if err := equal("log", string(text), "started\n"); err != nil {
		return err
	}
	return errors.Join(forwardPort(ctx, w), pods.Delete(ctx, "streams", metav1.DeleteOptions{}))
}

func execRequest(w *world) (string, *corev1.PodExecOptions) {
	return "streams", &corev1.PodExecOptions{Command: []string{"sh", "-c", "cat; echo err >&2; exit 3"}, Stdin: true, Stdout: true, Stderr: true}
}

func executed(ctx context.Context, executor remotecommand.Executor) error {
	var out, problems bytes.Buffer
	err := executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: strings.NewReader("typed"), Stdout: &out, Stderr: &problems})
	var code exec.CodeExitError
	if !errors.As(err, &code) || code.Code != 3 {
		return fmt.Errorf("ended with %w", err)
	}
	return equal("output", out.String()+problems.String(), "typederr\n")
}

func executeByWebSocket(ctx context.Context, w *world) error {
	name, options := execRequest(w)
	url := w.client.CoreV1().RESTClient().Get().Resource("pods").Namespace(w.namespace).Name(name).SubResource("exec").
		VersionedParams(options, scheme.ParameterCodec).URL()
	executor, err := remotecommand.NewWebSocketExecutor(w.config, "GET", url.String())
	if err != nil {
		return err
	}
	return executed(ctx, executor)
}

func executeBySpdy(ctx context.Context, w *world) error {
	name, options := execRequest(w)
	url := w.client.CoreV1().RESTClient().Post().Resource("pods").Namespace(w.namespace).Name(name).SubResource("exec").
		VersionedParams(options, scheme.ParameterCodec).URL()
	spdyExecutor, err := remotecommand.NewSPDYExecutor(w.config, "POST", url)
	if err != nil {
		return err
	}
	return executed(ctx, spdyExecutor)
}

func forwardPort(ctx context.Context, w *world) error {
	url := w.client.CoreV1().RESTClient().Post().Resource("pods").Namespace(w.namespace).Name("streams").SubResource("portforward").URL()
	tunneling, err := portforward.NewSPDYOverWebsocketDialer(url, w.config)
	if err != nil {
		return err
	}
	carrier, upgrader, err := spdy.RoundTripperFor(w.config)
	if err != nil {
		return err
	}
	dialer := portforward.NewFallbackDialer(tunneling, spdy.NewDialer(upgrader, &http.Client{Transport: carrier}, "POST", url),
		func(error) bool { return true })
	stop, ready := make(chan struct{}), make(chan struct{})
	forwarder, err := portforward.New(dialer, []string{"0:8080"}, stop, ready, io.Discard, io.Discard)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- forwarder.ForwardPorts() }()
	defer close(stop)
	select {
	case <-ready:
	case err := <-failed:
		return err
	case <-ctx.Done():
		return errors.New("forwarding does not start")
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		return err
	}
	return eventually(ctx, "an answer through the forwarded port", func() (bool, error) {
		answer, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", ports[0].Local))
		if err != nil {
			return false, nil
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		return err == nil && string(text) == "hello", nil
	})
}
