package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	extensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const definitionName = "gadgets.controller-runtime.example.com"

func eventually(ctx context.Context, what string, ask func() (bool, error)) error {
	var last error
	for {
		done, err := ask()
		if done && err == nil {
			return nil
		}
		last = err
		select {
		case <-ctx.Done():
			return errors.Join(errors.New("not in time: "+what), last)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// writeCertificates makes an authority and a certificate of 127.0.0.1; returns the authority's.
func writeCertificates(folder string) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "webhook"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})
	return text, errors.Join(
		os.WriteFile(filepath.Join(folder, "tls.crt"), text, 0o600),
		os.WriteFile(filepath.Join(folder, "tls.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600),
	)
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

func object(properties map[string]extensionsv1.JSONSchemaProps) extensionsv1.JSONSchemaProps {
	return extensionsv1.JSONSchemaProps{Type: "object", Properties: properties}
}

func definition(ctx context.Context, w *world) error {
	number := extensionsv1.JSONSchemaProps{Type: "integer", Format: "int32", Minimum: ptr.To(0.0)}
	text := extensionsv1.JSONSchemaProps{Type: "string"}
	open := extensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: ptr.To(true)}
	conditions := extensionsv1.JSONSchemaProps{Type: "array", Items: &extensionsv1.JSONSchemaPropsOrArray{Schema: &open}}
	schema := object(map[string]extensionsv1.JSONSchemaProps{
		"spec":   object(map[string]extensionsv1.JSONSchemaProps{"replicas": number, "colour": text}),
		"status": object(map[string]extensionsv1.JSONSchemaProps{"replicas": number, "selector": text, "leader": text, "conditions": conditions}),
	})
	crd := &extensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: definitionName},
		Spec: extensionsv1.CustomResourceDefinitionSpec{
			Group: groupVersion.Group,
			Scope: extensionsv1.NamespaceScoped,
			Names: extensionsv1.CustomResourceDefinitionNames{Plural: "gadgets", Singular: "gadget", Kind: "Gadget", ListKind: "GadgetList", ShortNames: []string{"gad"}},
			Versions: []extensionsv1.CustomResourceDefinitionVersion{{
				Name: groupVersion.Version, Served: true, Storage: true,
				Schema: &extensionsv1.CustomResourceValidation{OpenAPIV3Schema: &schema},
				Subresources: &extensionsv1.CustomResourceSubresources{
					Status: &extensionsv1.CustomResourceSubresourceStatus{},
					Scale: &extensionsv1.CustomResourceSubresourceScale{
						SpecReplicasPath: ".spec.replicas", StatusReplicasPath: ".status.replicas", LabelSelectorPath: ptr.To(".status.selector"),
					},
				},
				AdditionalPrinterColumns: []extensionsv1.CustomResourceColumnDefinition{
					{Name: "Replicas", Type: "integer", JSONPath: ".status.replicas"},
					{Name: "Ready", Type: "string", JSONPath: `.status.conditions[?(@.type=="Ready")].status`},
				},
			}},
		},
	}
	if err := w.client.Create(ctx, crd); err != nil {
		return err
	}
	return eventually(ctx, "the definition is established", func() (bool, error) {
		err := w.client.Get(ctx, client.ObjectKeyFromObject(crd), crd)
		for _, each := range crd.Status.Conditions {
			if each.Type == extensionsv1.Established && each.Status == extensionsv1.ConditionTrue {
				return true, err
			}
		}
		return false, err
	})
}

// managerStarts: the first manager leads; its webhooks are called by address, with its own authority.
func managerStarts(ctx context.Context, w *world) error {
	var err error
	if w.port, err = freePort(); err != nil {
		return err
	}
	if w.first, err = start(w, "first", w.port); err != nil {
		return err
	}
	select {
	case <-w.first.manager.Elected():
	case err := <-w.first.ended:
		return err
	case <-ctx.Done():
		return errors.New("the manager does not lead")
	}
	if !w.first.manager.GetCache().WaitForCacheSync(ctx) {
		return errors.New("the cache does not synchronise")
	}
	err = eventually(ctx, "the webhook server listens", func() (bool, error) {
		return true, w.first.manager.GetWebhookServer().StartedChecker()(nil)
	})
	if err != nil {
		return err
	}
	rules := func(operations ...admissionv1.OperationType) []admissionv1.RuleWithOperations {
		return []admissionv1.RuleWithOperations{{Operations: operations, Rule: admissionv1.Rule{
			APIGroups: []string{groupVersion.Group}, APIVersions: []string{"v1"}, Resources: []string{"gadgets"},
		}}}
	}
	hook := func(kind string) admissionv1.WebhookClientConfig {
		url := fmt.Sprintf("https://127.0.0.1:%d/%s-controller-runtime-example-com-v1-gadget", w.port, kind)
		return admissionv1.WebhookClientConfig{URL: &url, CABundle: w.ca}
	}
	name := metav1.ObjectMeta{Name: w.namespace}
	return errors.Join(
		w.client.Create(ctx, &admissionv1.MutatingWebhookConfiguration{ObjectMeta: name, Webhooks: []admissionv1.MutatingWebhook{{
			Name: "default.example.com", ClientConfig: hook("mutate"), Rules: rules(admissionv1.Create),
			SideEffects: ptr.To(admissionv1.SideEffectClassNone), AdmissionReviewVersions: []string{"v1"},
		}}}),
		w.client.Create(ctx, &admissionv1.ValidatingWebhookConfiguration{ObjectMeta: name, Webhooks: []admissionv1.ValidatingWebhook{{
			Name: "validate.example.com", ClientConfig: hook("validate"), Rules: rules(admissionv1.Create, admissionv1.Update, admissionv1.Delete),
			SideEffects: ptr.To(admissionv1.SideEffectClassNone), AdmissionReviewVersions: []string{"v1"},
		}}}),
	)
}

func gadget(w *world, name string, replicas int32, colour string) *Gadget {
	return &Gadget{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}, Spec: GadgetSpec{Replicas: replicas, Colour: colour}}
}

func mutatingWebhook(ctx context.Context, w *world) error {
	return eventually(ctx, "the default", func() (bool, error) {
		probe := gadget(w, "probe", 0, "")
		err := w.client.Create(ctx, probe, client.DryRunAll)
		return probe.Spec.Colour == "blue", err
	})
}

func validatingWebhook(ctx context.Context, w *world) error {
	err := eventually(ctx, "the refusal", func() (bool, error) {
		err := w.client.Create(ctx, gadget(w, "probe", 0, "pink"), client.DryRunAll)
		return apierrors.IsForbidden(err) && strings.Contains(err.Error(), `admission webhook "validate.example.com" denied the request: pink is sold out`), nil
	})
	if err != nil {
		return err
	}
	kept := gadget(w, "kept", 0, "")
	kept.Labels = map[string]string{"keep": "yes"}
	if err := w.client.Create(ctx, kept); err != nil {
		return err
	}
	if err := w.client.Delete(ctx, kept); !apierrors.IsForbidden(err) {
		return fmt.Errorf("deleted: %w", err)
	}
	err = w.client.Patch(ctx, kept, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"colour":"red"}}`)))
	if !apierrors.IsForbidden(err) {
		return fmt.Errorf("patched: %w", err)
	}
	return nil
}

func reconciles(ctx context.Context, w *world) error {
	made := gadget(w, "one", 3, "red")
	if err := w.client.Create(ctx, made); err != nil {
		return err
	}
	return eventually(ctx, "status and parts", func() (bool, error) {
		var parts corev1.ConfigMapList
		err := errors.Join(
			w.client.Get(ctx, client.ObjectKeyFromObject(made), made),
			w.client.List(ctx, &parts, client.InNamespace(w.namespace), client.MatchingLabels{"gadget": "one"}),
		)
		ready := meta.FindStatusCondition(made.Status.Conditions, "Ready")
		return len(parts.Items) == 3 && made.Status.Replicas == 3 && ready != nil && ready.ObservedGeneration == 1 && made.Status.Leader == "first", err
	})
}

// owns: a part that somebody removes comes back.
func owns(ctx context.Context, w *world) error {
	part := &corev1.ConfigMap{}
	key := client.ObjectKey{Namespace: w.namespace, Name: "one-1"}
	if err := w.client.Get(ctx, key, part); err != nil {
		return err
	}
	owner := metav1.GetControllerOf(part)
	if owner == nil || owner.Kind != "Gadget" || owner.Name != "one" {
		return fmt.Errorf("owner %v", owner)
	}
	before := part.UID
	if err := w.client.Delete(ctx, part); err != nil {
		return err
	}
	return eventually(ctx, "the part comes back", func() (bool, error) {
		err := w.client.Get(ctx, key, part)
		return part.UID != before, client.IgnoreNotFound(err)
	})
}

func scales(ctx context.Context, w *world) error {
	one := gadget(w, "one", 0, "")
	scale := &autoscalingv1.Scale{}
	// The status is the manager's to write, which it does after its third part.
	err := eventually(ctx, "the scale is three", func() (bool, error) {
		if err := w.client.SubResource("scale").Get(ctx, one, scale); err != nil {
			return false, err
		}
		return scale.Spec.Replicas == 3 && scale.Status.Replicas == 3 && scale.Status.Selector == "gadget=one", nil
	})
	if err != nil {
		return err
	}
	scale.Spec.Replicas = 1
	scale.ResourceVersion = ""
	if err := w.client.SubResource("scale").Update(ctx, one, client.WithSubResourceBody(scale)); err != nil {
		return err
	}
	return eventually(ctx, "parts go", func() (bool, error) {
		var parts corev1.ConfigMapList
		err := w.client.List(ctx, &parts, client.InNamespace(w.namespace), client.MatchingLabels{"gadget": "one"})
		return len(parts.Items) == 1, err
	})
}

// printsColumns: what kubectl prints.
func printsColumns(ctx context.Context, w *world) error {
	config := ctrl.GetConfigOrDie()
	config.AcceptContentTypes = "application/json;as=Table;v=v1;g=meta.k8s.io"
	tables, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	table, err := tables.Resource(groupVersion.WithResource("gadgets")).Namespace(w.namespace).Get(ctx, "one", metav1.GetOptions{})
	if err != nil {
		return err
	}
	found := fmt.Sprint(table.Object["columnDefinitions"])
	for _, name := range []string{"name:Name", "name:Replicas", "name:Ready"} {
		if table.GetKind() == "Table" && !strings.Contains(found, name) {
			return fmt.Errorf("columns %s", found)
		}
	}
	return nil
}

func recordsEvents(ctx context.Context, w *world) error {
	return eventually(ctx, "events", func() (bool, error) {
		var events corev1.EventList
		err := w.client.List(ctx, &events, client.InNamespace(w.namespace), client.MatchingFields{"involvedObject.name": "one", "reason": "Created"})
		return len(events.Items) >= 3, err
	})
}

func finalizes(ctx context.Context, w *world) error {
	one := gadget(w, "one", 0, "")
	if err := w.client.Get(ctx, client.ObjectKeyFromObject(one), one); err != nil {
		return err
	}
	if len(one.Finalizers) != 1 || one.Finalizers[0] != finalizer {
		return fmt.Errorf("finalizers %v", one.Finalizers)
	}
	if err := w.client.Delete(ctx, one, client.PropagationPolicy(metav1.DeletePropagationBackground)); err != nil {
		return err
	}
	return eventually(ctx, "the gadget and its parts are gone", func() (bool, error) {
		var parts corev1.ConfigMapList
		err := w.client.List(ctx, &parts, client.InNamespace(w.namespace), client.MatchingLabels{"gadget": "one"})
		gone := w.client.Get(ctx, client.ObjectKeyFromObject(one), one)
		return apierrors.IsNotFound(gone) && len(parts.Items) == 0, err
	})
}

// handsOver: a second manager waits, and leads when the first ends.
func handsOver(ctx context.Context, w *world) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	if w.second, err = start(w, "second", port); err != nil {
		return err
	}
	lease := &coordinationv1.Lease{}
	key := client.ObjectKey{Namespace: w.namespace, Name: "gadgets.example.com"}
	if err := w.client.Get(ctx, key, lease); err != nil {
		return err
	}
	before := *lease.Spec.HolderIdentity
	w.first.stop()
	if err := <-w.first.ended; err != nil {
		return err
	}
	select {
	case <-w.second.manager.Elected():
	case <-ctx.Done():
		return errors.New("nobody took over")
	}
	if err := w.client.Get(ctx, key, lease); err != nil {
		return err
	}
	if *lease.Spec.HolderIdentity == before {
		return errors.New("the lease did not change hands")
	}
	// Its webhooks went with the first manager: refused as the failure policy says.
	err = w.client.Create(ctx, gadget(w, "two", 1, "red"))
	if !apierrors.IsInternalError(err) || !strings.Contains(err.Error(), `failed calling webhook "default.example.com"`) {
		return fmt.Errorf("without a webhook: %w", err)
	}
	if err := removeWebhooks(ctx, w); err != nil {
		return err
	}
	two := gadget(w, "two", 1, "red")
	return eventually(ctx, "the second manager reconciles", func() (bool, error) {
		if err := w.client.Create(ctx, gadget(w, "two", 1, "red")); err != nil && !apierrors.IsAlreadyExists(err) {
			return false, err
		}
		err := w.client.Get(ctx, client.ObjectKeyFromObject(two), two)
		return two.Status.Leader == "second", err
	})
}

func removeWebhooks(ctx context.Context, w *world) error {
	name := metav1.ObjectMeta{Name: w.namespace}
	return errors.Join(
		client.IgnoreNotFound(w.client.Delete(ctx, &admissionv1.MutatingWebhookConfiguration{ObjectMeta: name})),
		client.IgnoreNotFound(w.client.Delete(ctx, &admissionv1.ValidatingWebhookConfiguration{ObjectMeta: name})),
	)
}

func cleanUp(ctx context.Context, w *world) {
	_ = removeWebhooks(ctx, w)
	_ = w.client.Delete(ctx, &extensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: definitionName}})
	_ = w.client.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}})
	for range 100 {
		if err := w.client.Get(ctx, client.ObjectKey{Name: definitionName}, &extensionsv1.CustomResourceDefinition{}); apierrors.IsNotFound(err) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	for _, each := range []*running{w.first, w.second} {
		if each != nil {
			each.stop()
		}
	}
}
