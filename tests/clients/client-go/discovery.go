package main

import (
	"context"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/restmapper"
	"k8s.io/kube-openapi/pkg/util/proto"
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
	models, err := proto.NewOpenAPIData(document)
	if err != nil {
		return fmt.Errorf("OpenAPI v2: %w", err)
	}
	if len(models.ListModels()) < 300 || len(document.GetPaths().GetPath()) < 100 {
		return fmt.Errorf("OpenAPI v2 has %d models, %d paths", len(models.ListModels()), len(document.GetPaths().GetPath()))
	}
	deployment, ok := models.LookupModel("io.k8s.api.apps.v1.Deployment").(*proto.Kind)
	if !ok || deployment.GetExtensions()["x-kubernetes-group-version-kind"] == nil {
		return fmt.Errorf("OpenAPI v2 describes a Deployment as %v", deployment)
	}
	containers, ok := models.LookupModel("io.k8s.api.core.v1.PodSpec").(*proto.Kind).Fields["containers"].(*proto.Array)
	if !ok || containers.GetExtensions()["x-kubernetes-patch-merge-key"] != "name" {
		return fmt.Errorf("OpenAPI v2 describes containers as %v", containers)
	}
	paths, err := w.client.Discovery().OpenAPIV3().Paths()
	if err != nil {
		return fmt.Errorf("OpenAPI v3: %w", err)
	}
	text, err := paths["apis/apps/v1"].Schema("application/json")
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
