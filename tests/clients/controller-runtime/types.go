package main

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var groupVersion = schema.GroupVersion{Group: "controller-runtime.example.com", Version: "v1"}

// Gadget is a custom resource.
type Gadget struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              GadgetSpec   `json:"spec"`
	Status            GadgetStatus `json:"status,omitempty"`
}

type GadgetSpec struct {
	Replicas int32  `json:"replicas"`
	Colour   string `json:"colour,omitempty"`
}

type GadgetStatus struct {
	Replicas   int32              `json:"replicas"`
	Selector   string             `json:"selector,omitempty"`
	Leader     string             `json:"leader,omitempty"`
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

type GadgetList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Gadget `json:"items"`
}

func (g *Gadget) DeepCopyObject() runtime.Object {
	copied := *g
	copied.ObjectMeta = *g.ObjectMeta.DeepCopy()
	copied.Status.Conditions = append([]metav1.Condition(nil), g.Status.Conditions...)
	return &copied
}

func (g *GadgetList) DeepCopyObject() runtime.Object {
	copied := *g
	copied.ListMeta = *g.ListMeta.DeepCopy()
	copied.Items = make([]Gadget, 0, len(g.Items))
	for index := range g.Items {
		copied.Items = append(copied.Items, *g.Items[index].DeepCopyObject().(*Gadget))
	}
	return &copied
}

func addTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(groupVersion, &Gadget{}, &GadgetList{})
	metav1.AddToGroupVersion(scheme, groupVersion)
	return nil
}
