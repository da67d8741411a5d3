package main

import (
	"context"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/restmapper"
)

func discovery(_ context.Context, w *world) error {
	groups, resources, err := w.client.Discovery().ServerGroupsAndResources()
	if err != nil {
		return err
	}
	if len(groups) < 15 || len(resources) < 15 {
		return fmt.Errorf("%d groups, %d lists of resources", len(groups), len(resources))
	}
	version, err := w.client.Discovery().ServerVersion()
	if err != nil {
		return err
	}
	if !strings.HasPrefix(version.GitVersion, "v1.34.") {
		return fmt.Errorf("version %s", version.GitVersion)
	}
	preferred, err := w.client.Discovery().ServerPreferredNamespacedResources()
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, list := range preferred {
		for _, each := range list.APIResources {
			seen[list.GroupVersion+"/"+each.Name] = true
		}
	}
	for _, name := range []string{"v1/pods", "apps/v1/deployments", "autoscaling/v2/horizontalpodautoscalers", "batch/v1/jobs"} {
		if !seen[name] {
			return fmt.Errorf("%s is not among the preferred resources", name)
		}
	}
	return nil
}

// openAPI: the documents as clients of Go read them, which is in protobuf.
func openAPI(_ context.Context, w *world) error {
	document, err := w.client.Discovery().OpenAPISchema()
	if err != nil {
		return fmt.Errorf("OpenAPI v2: %w", err)
	}
	if len(document.GetDefinitions().GetAdditionalProperties()) < 300 {
		return fmt.Errorf("OpenAPI v2 has %d definitions", len(document.GetDefinitions().GetAdditionalProperties()))
	}
	paths, err := w.client.Discovery().OpenAPIV3().Paths()
	if err != nil {
		return fmt.Errorf("OpenAPI v3: %w", err)
	}
	text, err := paths["apis/apps/v1"].Schema("application/com.github.proto-openapi.spec.v3.v1.0+protobuf")
	if err != nil || len(text) == 0 {
		return fmt.Errorf("OpenAPI v3 of apps/v1: %d bytes, %w", len(text), err)
	}
	return nil
}

func mapper(_ context.Context, w *world) error {
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(w.client.Discovery()))
	names := restmapper.NewShortcutExpander(mapper, w.client.Discovery(), nil)
	for word, wanted := range map[string]string{"deploy": "deployments", "po": "pods", "cm": "configmaps", "hpa": "horizontalpodautoscalers"} {
		found, err := names.ResourceFor(schema.GroupVersionResource{Resource: word})
		if err != nil {
			return err
		}
		if err := equal(word, found.Resource, wanted); err != nil {
			return err
		}
	}
	mapping, err := mapper.RESTMapping(schema.GroupKind{Group: "batch", Kind: "CronJob"})
	if err != nil {
		return err
	}
	return equal("mapping", mapping.Resource.String(), "batch/v1, Resource=cronjobs")
}
