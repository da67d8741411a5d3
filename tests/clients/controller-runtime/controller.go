package main

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

const finalizer = "controller-runtime.example.com/hold"

func controllerOptions() config.Controller {
	return config.Controller{SkipNameValidation: ptr.To(true)}
}

// gadgets makes a ConfigMap for every replica of a Gadget.
type gadgets struct {
	client.Client
	recorder record.EventRecorder
	identity string
}

func (g *gadgets) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var gadget Gadget
	if err := g.Get(ctx, request.NamespacedName, &gadget); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !gadget.DeletionTimestamp.IsZero() {
		g.recorder.Event(&gadget, corev1.EventTypeNormal, "Finalized", "let go")
		if controllerutil.RemoveFinalizer(&gadget, finalizer) {
			return ctrl.Result{}, g.Update(ctx, &gadget)
		}
		return ctrl.Result{}, nil
	}
	if controllerutil.AddFinalizer(&gadget, finalizer) {
		return ctrl.Result{}, g.Update(ctx, &gadget)
	}
	for number := range gadget.Spec.Replicas {
		part := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: gadget.Namespace, Name: fmt.Sprintf("%s-%d", gadget.Name, number)}}
		result, err := controllerutil.CreateOrUpdate(ctx, g.Client, part, func() error {
			part.Labels = map[string]string{"gadget": gadget.Name}
			part.Data = map[string]string{"colour": gadget.Spec.Colour}
			return controllerutil.SetControllerReference(&gadget, part, g.Scheme())
		})
		if err != nil {
			return ctrl.Result{}, err
		}
		if result == controllerutil.OperationResultCreated {
			g.recorder.Eventf(&gadget, corev1.EventTypeNormal, "Created", "made %s", part.Name)
		}
	}
	var parts corev1.ConfigMapList
	if err := g.List(ctx, &parts, client.InNamespace(gadget.Namespace), client.MatchingLabels{"gadget": gadget.Name}); err != nil {
		return ctrl.Result{}, err
	}
	for index := range parts.Items {
		if int32(index) < gadget.Spec.Replicas {
			continue
		}
		if err := g.Delete(ctx, &parts.Items[len(parts.Items)-1-(index-int(gadget.Spec.Replicas))]); client.IgnoreNotFound(err) != nil {
			return ctrl.Result{}, err
		}
	}
	before := gadget.DeepCopyObject().(*Gadget)
	gadget.Status.Replicas = int32(min(len(parts.Items), int(gadget.Spec.Replicas)))
	gadget.Status.Selector = "gadget=" + gadget.Name
	gadget.Status.Leader = g.identity
	meta.SetStatusCondition(&gadget.Status.Conditions, metav1.Condition{
		Type: "Ready", Status: metav1.ConditionTrue, Reason: "Made", ObservedGeneration: gadget.Generation,
	})
	return ctrl.Result{}, g.Status().Patch(ctx, &gadget, client.MergeFrom(before))
}

// gadgetAdmission gives a colour, and refuses one.
type gadgetAdmission struct{}

func (*gadgetAdmission) Default(_ context.Context, object runtime.Object) error {
	gadget := object.(*Gadget)
	if gadget.Spec.Colour == "" {
		gadget.Spec.Colour = "blue"
	}
	return nil
}

func (*gadgetAdmission) ValidateCreate(_ context.Context, object runtime.Object) (admission.Warnings, error) {
	if gadget := object.(*Gadget); gadget.Spec.Colour == "pink" {
		return admission.Warnings{"think again"}, errors.New("pink is sold out")
	}
	return nil, nil
}

func (*gadgetAdmission) ValidateUpdate(_ context.Context, before, after runtime.Object) (admission.Warnings, error) {
	if before.(*Gadget).Spec.Colour != after.(*Gadget).Spec.Colour {
		return nil, errors.New("the colour stays")
	}
	return nil, nil
}

func (*gadgetAdmission) ValidateDelete(_ context.Context, object runtime.Object) (admission.Warnings, error) {
	if object.(*Gadget).Labels["keep"] == "yes" {
		return nil, errors.New("this one is kept")
	}
	return nil, nil
}
